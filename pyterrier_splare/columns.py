"""Columns of a frame, checked: ids, texts, each once, and latents as sparse matrices."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
from scipy.sparse import csr_array

from splare_plugins.corpus.documents import SURROGATE
from splare_plugins.errors import InputError
from splare_plugins.impacts import from_dicts

UNKNOWN_WIDTH = 1 << 18
"""Latents allowed in vectors whose model nobody named."""


class Distinct(NamedTuple):
    """The different texts of a column."""

    texts: list[str]
    """In the order in which they appear."""
    owners: list[str]
    """The id of the row in which each appears first."""
    places: list[int]
    """For each row, the number of its text."""


def distinct(values: Sequence[object], ids: Sequence[object], *, column: str, kind: str) -> Distinct:
    """Find the different texts of a column.

    A union or a sum of two rankings leaves NaN in rows that only one side has; such a row has the text of the other
    rows with its id.

    Args:
        values: the column.
        ids: qids or docnos of the rows.
        column: the column's name, for the message.
        kind: ``"qid"`` or ``"docno"``, for the message.

    Raises:
        InputError: for a value that is not a string, holds a lone surrogate, or is missing from all rows with the id,
            naming the id.
    """
    texts = {owner: value for value, owner in zip(values, ids, strict=True) if isinstance(value, str)}
    numbers: dict[str, int] = {}
    owners: list[str] = []
    places = []
    for value, owner in zip(values, ids, strict=True):
        if not isinstance(value, str) and is_missing(value):
            value = texts.get(owner, value)
        if not isinstance(value, str):
            raise InputError(
                f"{kind} {owner!r} has {value!r} in the column {column!r}, which is not a text; "
                f"fill it first, for example with frame.fillna({{{column!r}: ''}})"
            )
        if not value.isascii() and (bad := SURROGATE.search(value)):
            raise InputError(
                f"{kind} {owner!r} has a lone surrogate in the column {column!r}, at character {bad.start() + 1}; "
                "write the whole character"
            )
        number = numbers.setdefault(value, len(numbers))
        if number == len(owners):
            owners.append(str(owner))
        places.append(number)
    return Distinct(list(numbers), owners, places)


def is_missing(value: object) -> bool:
    """Whether a cell of a frame is empty: ``None``, NaN or ``pandas.NA``."""
    return value is None or (pd.api.types.is_scalar(value) and bool(pd.isna(value)))


def require_records(stream: Any) -> None:
    """Refuse a stream of something else than records; a data frame, iterated, gives the names of its columns.

    Args:
        stream: made by ``pt.utils.peekable``; nothing is taken from it.

    Raises:
        InputError: saying what to give instead.
    """
    try:
        first = stream.peek()
    except StopIteration:
        return
    if not isinstance(first, Mapping):
        raise InputError(
            f"{first!r} is not a record; give a list of dictionaries, which is frame.to_dict('records') of a frame"
        )


def require_docnos(docnos: Sequence[object]) -> None:
    """Refuse ids that the engines would refuse or change.

    Raises:
        InputError: for a docno that is empty or not a string.
    """
    for docno in docnos:
        if not isinstance(docno, str):
            raise InputError(
                f"the docno {docno!r} is {type(docno).__name__}, not a string; "
                "convert it first, for example with frame.astype({'docno': str})"
            )
        if not docno:
            raise InputError("a document has an empty docno; give each one an id")


def require_new_qids(qids: Sequence[object], seen: set[object]) -> None:
    """Refuse a query frame that has a qid twice, and remember its qids in ``seen``.

    Raises:
        InputError: naming the qid.
    """
    for qid in qids:
        if qid in seen:
            raise InputError(f"the qid {qid!r} occurs twice among the queries; give every query a qid of its own")
        seen.add(qid)


def to_impacts(rows: Sequence[Mapping[str, float]], width: int | None, name: Callable[[int], str]) -> csr_array:
    """Impacts of dictionaries.

    Args:
        rows: latents and their impacts.
        width: number of latents, where it is known.
        name: what error messages call the row at a position, for example ``"query '7'"``.

    Returns:
        int32, shape ``(len(rows), width)``.

    Raises:
        InputError: for a token that is not a latent of this width, or an impact that is not an integer >= 1.
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
                beyond = not width and "beyond the last latent" in str(error)
                more = f" (to allow more than {known} latents, name the model of the index)" if beyond else ""
                raise InputError(f"{name(position)}: {str(error).removeprefix('row 0: ')}{more}") from error
        raise
