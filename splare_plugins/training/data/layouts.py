"""Which columns of a row hold its query, its documents and their scores: by the names that published data have."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from splare_plugins.errors import InputError
from splare_plugins.training.data.values import Row, has_value, is_number

QUERY = ("query", "anchor")
QUERY_ID = ("query_id", "qid")
RANKED = ("documents", "docs")
RANKED_IDS = ("document_ids", "doc_ids")
POSITIVE_ID = ("positive_id", "pid")
NEGATIVE_ID = ("negative_id", "nid")
SCORES = ("scores", "score", "label", "labels")
MARGINS = ("margin", "margins")
_MAYBE_MARGIN = ("score", "label")
LAYOUTS = (
    "query (or anchor), positive and negatives (scores: one a document, the positive's first; or margin)",
    "query, pos, neg (pos_scores, neg_scores)",
    "query, positive, negative or negative_1 to negative_n (scores, or margin)",
    "query, positive_passages, negative_passages",
    "query, documents, scores",
    "query_id, document_ids, scores",
    "qid, pid, nid",
)


class Layout(NamedTuple):
    """Columns of a row."""

    query: str
    positives: str
    """Of documents that are ranked by their scores, the column of them all."""
    negatives: tuple[str, ...] = ()
    scores: tuple[str, ...] = ()
    """One for all documents, or one for the positives and one for the negatives."""
    ranked: bool = False
    """No column says which document is the positive; the teacher's favourite is."""

    @property
    def by_id(self) -> bool:
        """Whether documents are named by their ids."""
        return self.positives in (*RANKED_IDS, *POSITIVE_ID)


def find_layout(row: Row, where: str) -> Layout:
    """The columns of a row that count; an empty column is one that the row lacks.

    Args:
        row: values by column.
        where: file and line, the start of an error message.

    Raises:
        InputError: for columns of no known layout.
    """
    # A file of mixed rows has all their columns in Parquet, and null where a row lacks one.
    columns = {name for name, value in row.items() if value is not None}
    query = _first((*QUERY, *QUERY_ID), columns)
    if query is None:
        raise InputError(f"{where}: no column 'query'; rows hold {'; or '.join(LAYOUTS)}")
    if "pos" in columns:
        own = ("pos_scores", "neg_scores")
        return Layout(query, "pos", ("neg",), own if columns & set(own) else _named(MARGINS, columns))
    if "positive_passages" in columns:
        return Layout(query, "positive_passages", ("negative_passages",))
    if "positive" in columns:
        return Layout(query, "positive", _negatives(columns), _named((*SCORES, *MARGINS), columns))
    if (ranked := _first(RANKED, columns)) is not None:
        return Layout(query, ranked, (), _named(("scores",), columns), ranked=True)
    if (positive := _first(POSITIVE_ID, columns)) is not None:
        negative = tuple(name for name in NEGATIVE_ID if name in columns)
        return Layout(query, positive, negative, _named((*SCORES, *MARGINS), columns))
    if (ranked := _first(RANKED_IDS, columns)) is not None:
        return Layout(query, ranked, (), _named(("scores",), columns), ranked=True)
    raise InputError(f"{where}: no column for the positive; rows hold {'; or '.join(LAYOUTS)}")


def holds_margin(layout: Layout, row: Row) -> bool:
    """Whether the row's score column says how much better the positive is, and not how good each document is.

    It does so by its name, or where it is one number for two documents.
    """
    if len(layout.scores) != 1 or not has_value(row, layout.scores[0]):
        return False
    (column,) = layout.scores
    return column in MARGINS or (column in _MAYBE_MARGIN and bool(layout.negatives) and is_number(row[column]))


def describe_layout(row: Row, where: str) -> str:
    """What is read of a row, for people."""
    layout = find_layout(row, where)
    columns = [layout.query, layout.positives, *layout.negatives[:3], *layout.scores]
    shown = ", ".join(columns) + (f" and {len(layout.negatives) - 3} more negatives" if layout.negatives[3:] else "")
    if holds_margin(layout, row):
        shown += f"; {layout.scores[0]} is taken as a margin, the positive's score minus the negative's"
    if layout.ranked:
        shown += "; the document of the highest score is taken as the positive"
    return shown


def is_plain(row: Row, where: str) -> bool:
    """Whether the names of its columns alone say what a row's values mean."""
    layout = find_layout(row, where)
    return not (layout.ranked or (holds_margin(layout, row) and layout.scores[0] not in MARGINS))


def is_header(names: Collection[str]) -> bool:
    """Whether a line names columns: one of a query, and one of a positive or of documents."""
    documents = ("pos", "positive", "positive_passages", *RANKED, *POSITIVE_ID, *RANKED_IDS)
    return any(name in names for name in (*QUERY, *QUERY_ID)) and any(name in names for name in documents)


def _negatives(columns: Iterable[str]) -> tuple[str, ...]:
    numbered = [name for name in columns if name.startswith("negative_") and name[9:].isdigit()]
    plain = [name for name in ("negatives", "negative") if name in columns]
    return (*plain, *sorted(numbered, key=lambda name: int(name[9:])))


def _first(names: Iterable[str], columns: Collection[str]) -> str | None:
    return next((name for name in names if name in columns), None)


def _named(names: Iterable[str], columns: Collection[str]) -> tuple[str, ...]:
    found = _first(names, columns)
    return () if found is None else (found,)
