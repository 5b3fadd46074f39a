"""One training example, from a row of any of the layouts that such data is published in."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from splare_plugins.corpus.documents import check_text
from splare_plugins.errors import InputError

Row = Mapping[str, Any]
Lookup = Callable[[str, Any], str]
"""Text of a ``"query"`` or ``"document"`` by its id."""

LAYOUTS = (
    "query, positive and negatives (scores: one a document, the positive's first)",
    "query, pos, neg (pos_scores, neg_scores)",
    "query, positive, negative or negative_1 to negative_n (scores)",
    "query, positive_passages, negative_passages",
    "query_id, document_ids, scores",
)
_SCORE_COLUMNS = ("scores", "score", "label", "labels")


class Scored(NamedTuple):
    """A text and what the teacher says of it."""

    text: str
    score: float | None


class Example(NamedTuple):
    """A query with its candidates."""

    query: str
    positives: list[Scored]
    negatives: list[Scored]

    @property
    def candidates(self) -> list[Scored]:
        """Positives, then negatives."""
        return self.positives + self.negatives


def read_example(row: Row, where: str, lookup: Lookup | None = None) -> Example:
    """An example from a row; columns of other names are ignored, and an empty column is one that the row lacks.

    Args:
        row: values by column.
        where: file and line, the start of an error message.
        lookup: gives the texts of a layout with ids.

    Raises:
        InputError: for columns of no known layout, values of the wrong kind, or scores that do not match the texts.
    """
    # A file of mixed rows has all their columns in Parquet, and null where a row lacks one.
    columns = {name for name, value in row.items() if value is not None}
    if {"query_id", "document_ids"} <= columns:
        return _by_ids(row, where, lookup)
    if "query" not in columns:
        raise InputError(f"{where}: no column 'query'; rows hold {'; or '.join(LAYOUTS)}")
    query, _ = check_text(row["query"], f"{where}: query")
    if "pos" in columns:
        names = ("pos", "neg")
        return Example(query, *(_pair(_texts(row, name, where), row, name + "_scores", where) for name in names))
    if "positive_passages" in columns:
        names = ("positive_passages", "negative_passages")
        return Example(query, *([Scored(text, None) for text in _passages(row.get(name), where)] for name in names))
    if "positive" not in columns:
        raise InputError(f"{where}: no column for the positive; rows hold {'; or '.join(LAYOUTS)}")
    first = _texts(row, "positive", where)
    others = [text for name in _negative_columns(columns) for text in _texts(row, name, where)]
    found = next((name for name in _SCORE_COLUMNS if name in columns), "scores")
    scored = _pair(first + others, row, found, where)
    return Example(query, scored[: len(first)], scored[len(first) :])


def check_example(example: Example, where: str, *, scores: bool, least: int) -> None:
    """Refuse an example that would teach nothing.

    Args:
        example: the example.
        where: file and line.
        scores: whether teacher scores are needed.
        least: candidates needed.

    Raises:
        InputError: for a blank query, a missing positive, too few candidates, and missing or constant scores.
    """
    if not example.query.strip():
        raise InputError(f"{where}: the query is blank; remove the row")
    candidates = example.candidates
    if not example.positives or len(candidates) < least:
        raise InputError(
            f"{where}: the query {example.query[:60]!r} has {len(example.positives)} positives and "
            f"{len(example.negatives)} negatives, but needs one and {least - 1}; mine negatives with `splare train "
            "mine`, or skip such rows with `invalid: skip`"
        )
    if blank := [text for text, _ in candidates if not text.strip()]:
        raise InputError(f"{where}: {len(blank)} documents are blank; remove them, or skip with `invalid: skip`")
    if not scores:
        return
    if any(score is None for _, score in candidates):
        raise InputError(
            f"{where}: no teacher scores; make them with `splare train score`, skip such rows with `unscored: skip`, "
            "or train with the contrastive loss alone"
        )
    if len({score for _, score in candidates}) == 1:
        raise InputError(
            f"{where}: all {len(candidates)} teacher scores are {candidates[0].score}, which says nothing about the "
            "order; score the row again, or skip such rows with `invalid: skip`"
        )


def _by_ids(row: Row, where: str, lookup: Lookup | None) -> Example:
    if lookup is None:
        raise InputError(f"{where}: the row has ids but its source has no 'queries' and 'documents' to find texts in")
    query = lookup("query", row["query_id"])
    ids = _list(row["document_ids"], where, "document_ids")
    scored = _pair([lookup("document", each) for each in ids], row, "scores", where)
    # Such rows do not say which document was judged: the teacher's favourite stands for the positive.
    ranked = sorted(scored, key=lambda document: -(document.score or 0))
    return Example(query, ranked[:1], ranked[1:])


def _negative_columns(columns: Iterable[str]) -> list[str]:
    numbered = [name for name in columns if name.startswith("negative_") and name[9:].isdigit()]
    plain = [name for name in ("negatives", "negative") if name in columns]
    return plain + sorted(numbered, key=lambda name: int(name[9:]))


def _texts(row: Row, column: str, where: str) -> list[str]:
    value = row.get(column)
    values = [] if value is None else value if isinstance(value, list | tuple) else [value]
    return [check_text(each, f"{where}: {column}")[0] for each in values]


def _passages(value: Any, where: str) -> list[str]:
    texts = []
    for passage in value or []:
        if not isinstance(passage, Mapping) or "text" not in passage:
            raise InputError(f"{where}: a passage must have a text, not be {str(passage)[:60]!r}")
        title = passage.get("title") or ""
        texts.append(check_text(f"{title} {passage['text']}".strip(), where)[0])
    return texts


def _list(value: Any, where: str, column: str) -> list[Any]:
    """A list, or one written as text, which is how some published files hold it."""
    try:
        values = ast.literal_eval(value) if isinstance(value, str) else value
        return list(values)
    except (ValueError, SyntaxError, TypeError) as error:
        raise InputError(f"{where}: {column} must be a list, not {str(value)[:60]!r}") from error


def _pair(texts: list[str], row: Row, column: str, where: str) -> list[Scored]:
    scores = row.get(column)
    if scores is None or (isinstance(scores, list | str) and not scores):
        return [Scored(text, None) for text in texts]
    values = _list(scores, where, column) if not isinstance(scores, int | float) else [scores]
    if len(values) != len(texts):
        raise InputError(f"{where}: {column} has {len(values)} scores for {len(texts)} documents")
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise InputError(f"{where}: {column} holds {value!r}, which is not a finite number")
    return [Scored(text, float(value)) for text, value in zip(texts, values, strict=True)]
