"""Texts, ids and scores out of the values of one row."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from splare_plugins.corpus.documents import check_text, plain_id
from splare_plugins.errors import InputError

Row = Mapping[str, Any]
Lookup = Callable[[str, Any], str]
"""Text of a ``"query"`` or ``"document"`` by its id."""


class Candidate(NamedTuple):
    """A document of a row."""

    text: str
    score: float | None = None
    docid: object = None
    """What the row calls it, if it does."""


def texts_of(row: Row, column: str, where: str) -> list[Candidate]:
    """The documents of a column: one or several, each a text or a passage of ``text``, ``title``, ``score`` and id.

    Raises:
        InputError: for a passage without text, or anything but text.
    """
    return [
        _passage(each, column, where)
        if isinstance(each, Mapping)
        else Candidate(check_text(each, f"{where}: {column}")[0])
        for each in _several(row.get(column))
    ]


def by_ids(row: Row, column: str, where: str, lookup: Lookup | None) -> list[Candidate]:
    """The documents whose ids a column holds.

    Raises:
        InputError: if nothing gives their texts, or one of them is not there.
    """
    ids = ids_of(row, column, where)
    return [Candidate(text_by_id(lookup, "document", each, where), docid=plain_id(each)) for each in ids]


def ids_of(row: Row, column: str, where: str) -> list[Any]:
    """The ids of a column: one, a list, or in a column of several a list that is written as text.

    Raises:
        InputError: if a column of several holds something else.
    """
    value = row.get(column)
    return as_list(value, where, column) if column.endswith("s") else _several(value)


def text_by_id(lookup: Lookup | None, kind: str, wanted: Any, where: str) -> str:
    """The text of an id; errors are those of :func:`by_ids`."""
    if lookup is None:
        raise InputError(
            f"{where}: the row has ids and nothing says where their texts are; name the files of both, --queries "
            "QUERIES --corpus CORPUS (in a config: queries and corpus)"
        )
    try:
        return lookup(kind, wanted)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def with_scores(documents: Sequence[Candidate], scores: Sequence[float], column: str, where: str) -> list[Candidate]:
    """The documents with the scores of a column.

    Raises:
        InputError: if there are more or fewer of them, or the documents have scores of their own.
    """
    if len(scores) != len(documents):
        raise InputError(f"{where}: {column} has {len(scores)} scores for {len(documents)} documents")
    if any(each.score is not None for each in documents):
        raise InputError(f"{where}: there are scores in {column} and in the documents themselves; remove one of them")
    return [each._replace(score=score) for each, score in zip(documents, scores, strict=True)]


def is_number(value: Any) -> bool:
    """Whether a value is one number, or text that says one, as in a TSV file."""
    return isinstance(_parsed(value), int | float)


def numbers_of(row: Row, column: str, where: str) -> list[float]:
    """The numbers of a column: a list, or one.

    Raises:
        InputError: if it holds something else.
    """
    value = _parsed(row[column])
    values = [value] if isinstance(value, int | float) else as_list(value, where, column)
    return [_finite(each, column, where) for each in values]


def has_value(row: Row, column: str) -> bool:
    """Whether a row has something in a column; an empty list or text is nothing."""
    value = row.get(column)
    return value is not None and not (isinstance(value, list | tuple | str) and not value)


def as_list(value: Any, where: str, column: str) -> list[Any]:
    """A list, or one written as text, which is how some published files hold it.

    Raises:
        InputError: if it is neither.
    """
    try:
        values = ast.literal_eval(value) if isinstance(value, str) else value
        return list(values)
    except (ValueError, SyntaxError, TypeError) as error:
        raise InputError(f"{where}: {column} must be a list, not {str(value)[:60]!r}") from error


def _several(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, list | tuple) else [value]


def _passage(value: Mapping[str, Any], column: str, where: str) -> Candidate:
    if value.get("text") is None:
        raise InputError(f"{where}: a passage must have a text, not be {str(value)[:60]!r}")
    title = value.get("title") or ""
    text, _ = check_text(f"{title} {value['text']}".strip(), where)
    score = value.get("score")
    docid = next((value[name] for name in ("docid", "doc_id", "id", "_id") if value.get(name) is not None), None)
    return Candidate(text, None if score is None else _finite(score, f"a score of {column}", where), plain_id(docid))


def _finite(value: Any, column: str, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(f"{where}: {column} holds {value!r}, which is not a finite number")
    return float(value)


def _parsed(value: Any) -> Any:
    """The number that a text says; anything else as it is."""
    if not isinstance(value, str):
        return value
    try:
        return float(value)
    except ValueError:
        return value
