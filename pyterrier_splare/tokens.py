"""Columns ``toks`` and ``query_toks``, ``{"f12345": 87}``, as sparse matrices, with errors that name the row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from scipy.sparse import csr_array

from splare_plugins.errors import InputError
from splare_plugins.impacts import from_dicts

UNKNOWN_WIDTH = 1 << 18
"""Latents allowed in vectors whose model nobody named."""


def to_impacts(rows: Sequence[Mapping[str, float]], width: int | None, name: Callable[[int], str]) -> csr_array:
    """Impacts of dictionaries.

    Args:
        rows: latents and their impacts.
        width: number of latents, where it is known.
        name: what error messages call the row at a position, for example ``"query '7'"``.

    Returns:
        int32, shape ``(len(rows), width)``.

    Raises:
        InputError: for a token that is no latent of this width, and for an impact that is no integer >= 1.
    """
    known = width or UNKNOWN_WIDTH
    try:
        return from_dicts(rows, known)
    except (InputError, AttributeError, TypeError):
        for position, row in enumerate(rows):
            if not isinstance(row, Mapping):
                raise InputError(f"{name(position)} has {row!r} where a dictionary of impacts is needed") from None
            try:
                from_dicts([row], known)
            except InputError as error:
                more = "" if width else f" (to allow more than {known} latents, name the model of the index)"
                raise InputError(f"{name(position)}: {str(error).removeprefix('row 0: ')}{more}") from error
        raise
