"""Weights that are not finite: a state outside the range of its dtype, or a damaged weight of the model."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, overload

import numpy as np

from splare_plugins.errors import SplareError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_SHOWN = 60


@overload
def finite_rows(rows: Tensor) -> Tensor: ...
@overload
def finite_rows(rows: np.ndarray) -> np.ndarray: ...
def finite_rows(rows: Tensor | np.ndarray) -> Tensor | np.ndarray:
    """Whether each vector has neither a NaN nor an infinity; bool, shape ``[rows]``, where the vectors are."""
    # A sum is finite only of finite numbers, and much faster than a look at each; it may overflow, though.
    if isinstance(rows, np.ndarray):
        with np.errstate(over="ignore", invalid="ignore"):
            sums = np.isfinite(rows.sum(1))
        return sums if sums.all() else np.isfinite(rows).all(1)
    if rows.device.type == "cpu" and bool((finite := rows.sum(1).isfinite()).all()):
        return finite
    return rows.isfinite().all(1)


def require_finite(
    finite: np.ndarray, numbers: Sequence[int], text: Callable[[int], str], dtype: torch.dtype | str | None
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
    if finite.all():
        return
    number = numbers[int(finite.argmin())]
    shown = textwrap.shorten(text(number), _SHOWN, placeholder=" ...")
    raise SplareError(f"the vector of text {number} ({shown!r}) {not_finite(dtype)}")


def not_finite(dtype: torch.dtype | str | None) -> str:
    """That something has no finite value in ``dtype``, and what helps; ``None`` where the dtype is not known."""
    name = str(dtype).removeprefix("torch.")
    if name in ("float32", "float64"):
        return f"is not finite in {name}, so a weight of the model is damaged; fetch or train the model again"
    return (
        f"is not finite in {'its precision' if dtype is None else name}; load the model in another one "
        "(--dtype float32, or dtype='float32' in Python)"
    )
