"""One training example, from a row of any of the layouts that such data is published in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from splare_plugins.corpus.documents import check_text
from splare_plugins.errors import InputError
from splare_plugins.training.data.layouts import MARGINS, QUERY, Layout, find_layout, holds_margin
from splare_plugins.training.data.values import (
    Candidate,
    Lookup,
    Row,
    by_ids,
    has_value,
    numbers_of,
    text_by_id,
    texts_of,
    with_scores,
)


class Scored(NamedTuple):
    """A text and what the teacher says of it."""

    text: str
    score: float | None


class Example(NamedTuple):
    """A query with its candidates."""

    query: str
    positives: list[Scored]
    negatives: list[Scored]
    copies: int = 0
    """Negatives that were left out because they are a positive."""

    @property
    def candidates(self) -> list[Scored]:
        """Positives, then negatives."""
        return self.positives + self.negatives


def read_example(row: Row, where: str, lookup: Lookup | None = None) -> Example:
    """An example from a row; columns of other names are ignored, and an empty column is one that the row lacks.

    A margin becomes scores with that difference: every loss that reads a teacher's scores reads differences alone. A
    negative that is a positive, by its id or its text, is left out.

    Args:
        row: values by column.
        where: file and line, the start of an error message.
        lookup: gives the texts of a layout with ids.

    Raises:
        InputError: for columns of no known layout, values of the wrong kind, or scores that do not match the texts.
    """
    layout = find_layout(row, where)
    if layout.query in QUERY:
        query, _ = check_text(row[layout.query], f"{where}: {layout.query}")
    else:
        query = text_by_id(lookup, "query", row[layout.query], where)
    positives = _documents(row, (layout.positives,), layout, where, lookup)
    negatives = _documents(row, layout.negatives, layout, where, lookup)
    positives, negatives = _scored(row, layout, positives, negatives, where)
    if layout.ranked and all(document.score is not None for document in positives):
        ranked = sorted(positives, key=lambda document: -(document.score or 0))
        positives, negatives = ranked[:1], ranked[1:]
    elif layout.ranked:  # without scores nothing says which one is the positive
        positives, negatives = [], positives
    kept = _without_copies(positives, negatives)
    first, others = ([Scored(each.text, each.score) for each in documents] for documents in (positives, kept))
    return Example(query, first, others, copies=len(negatives) - len(kept))


def plain(text: str) -> str:
    """A text by which copies are known: without capitals, and with single blanks."""
    return " ".join(text.casefold().split())


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
    if not example.positives:
        raise InputError(
            f"{where}: the query {example.query[:60]!r} has 0 positives and {len(example.negatives)} negatives; name "
            "the positive, or skip such rows with `invalid: skip`"
        )
    if len(candidates) < least:
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


def _documents(row: Row, columns: Sequence[str], layout: Layout, where: str, lookup: Lookup | None) -> list[Candidate]:
    found = (
        by_ids(row, column, where, lookup) if layout.by_id else texts_of(row, column, where) for column in columns
    )
    return [document for documents in found for document in documents]


def _scored(
    row: Row, layout: Layout, positives: list[Candidate], negatives: list[Candidate], where: str
) -> tuple[list[Candidate], list[Candidate]]:
    """Both with the scores of the row's columns."""
    if len(layout.scores) == 2:
        sides = zip((positives, negatives), layout.scores, strict=True)
        first, second = (
            with_scores(documents, numbers_of(row, column, where), column, where)
            if has_value(row, column)
            else documents
            for documents, column in sides
        )
        return first, second
    if not layout.scores or not has_value(row, layout.scores[0]):
        return positives, negatives
    (column,) = layout.scores
    scores = numbers_of(row, column, where)
    if holds_margin(layout, row) and (column in MARGINS or negatives):
        if len(positives) != 1 or len(scores) != len(negatives):
            raise InputError(
                f"{where}: {column} has {len(scores)} margins between {len(positives)} positives and "
                f"{len(negatives)} negatives; a margin is the score of one positive minus that of one negative"
            )
        scores = [0.0, *(-margin for margin in scores)]
    elif positives and negatives and len(scores) == len(negatives):
        raise InputError(
            f"{where}: {column} has {len(scores)} scores for {len(positives + negatives)} documents, one each; if "
            "these are margins, one a negative, call the column margin"
        )
    scored = with_scores(positives + negatives, scores, column, where)
    return scored[: len(positives)], scored[len(positives) :]


def _without_copies(positives: Sequence[Candidate], negatives: Sequence[Candidate]) -> list[Candidate]:
    ids = {document.docid for document in positives if document.docid is not None}
    texts = {plain(document.text) for document in positives}
    return [document for document in negatives if document.docid not in ids and plain(document.text) not in texts]
