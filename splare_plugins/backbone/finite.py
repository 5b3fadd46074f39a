"""Weights that are not finite: a state outside the range of its dtype, or a damaged weight of the model."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from splare_plugins.errors import SplareError

_SHOWN = 60


def finite_rows(rows: Tensor) -> Tensor:
    """Whether each vector has neither a NaN nor an infinity; bool, shape ``[rows]``, where the vectors are."""
    # A sum is finite only of finite numbers, and much faster than a look at each; it may overflow, though.
    if rows.device.type == "cpu" and bool((finite := rows.sum(1).isfinite()).all()):
        return finite
    return rows.isfinite().all(1)


def require_finite(
    finite: Tensor, numbers: Sequence[int], text: Callable[[int], str], dtype: torch.dtype | None
) -> None:
    """Refuse vectors with a NaN or an infinity, which would go into an index as empty documents.

    Args:
        finite: whether the vector of each text is, bool, shape ``[texts]``.
        numbers: of the texts.
        text: gives a text by its number.
        dtype: that the model runs in, where it is known.

    Raises:
        SplareError: naming the first such text, the dtype and the way out.
    """
    if bool(finite.all()):
        return
    number = numbers[int((~finite).nonzero()[0])]
    shown = textwrap.shorten(text(number), _SHOWN, placeholder=" ...")
    raise SplareError(f"the vector of text {number} ({shown!r}) {not_finite(dtype)}")


def not_finite(dtype: torch.dtype | None) -> str:
    """That something has no finite value in ``dtype``, and what helps; ``None`` where the dtype is not known."""
    if dtype in (torch.float32, torch.float64):
        return f"is not finite in {_name(dtype)}, so a weight of the model is damaged; fetch or train the model again"
    return (
        f"is not finite in {'its precision' if dtype is None else _name(dtype)}; load the model in another one "
        "(--dtype float32, or dtype='float32' in Python)"
    )


def _name(dtype: torch.dtype | None) -> str:
    return str(dtype).removeprefix("torch.")
