"""Hard negatives: what a search ranks high and nobody called relevant."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from splare_plugins.engines.base import Hits
from splare_plugins.errors import InputError
from splare_plugins.machine.files import replacing
from splare_plugins.training.data.examples import plain
from splare_plugins.training.data.reader import ExampleReader

logger = logging.getLogger(__name__)


class Question(NamedTuple):
    """A query and all its positives."""

    qid: str
    text: str
    positives: list[str]


class Mined(NamedTuple):
    """What mining came to."""

    rows: int
    negatives: int
    short: int
    """Queries for which fewer negatives than asked for were found."""
    without: int
    """Queries for which none was found; they are left out."""


def read_questions(source: str, **options: Any) -> list[Question]:
    """The queries of training data with their positives; rows of one query are put together.

    Source and options are those of :func:`splare_plugins.training.data.rows.read_rows`; the order is that of the
    source, and ids are numbers.
    """
    positives: dict[str, list[str]] = {}
    for _, example in ExampleReader(source, **options):
        known = positives.setdefault(example.query, [])
        known.extend(text for text, _ in example.positives if text not in known)
    if not positives:
        raise InputError(f"{source} holds no query to mine for")
    return [Question(str(number), text, known) for number, (text, known) in enumerate(positives.items())]


def write_negatives(
    questions: Iterable[Question],
    hits: Mapping[str, Hits],
    documents: Mapping[str, str],
    output: Path,
    *,
    negatives: int = 8,
    skip: int = 0,
    pick: str = "first",
    seed: int = 42,
) -> Mined:
    """Write one row of training data for each query and positive.

    Args:
        questions: queries with positives.
        hits: what was found for each, by the question's id, best first.
        documents: text by id; needed of every hit.
        output: JSONL file, written whole or not at all.
        negatives: most of a query.
        skip: best hits left out besides positives: where judgements are thin, they are often relevant.
        pick: ``"first"`` takes the best of the rest, ``"random"`` any of it.
        seed: of the random choice.

    Raises:
        InputError: if a hit is not among the documents.
    """
    generator = np.random.default_rng(seed)
    rows = total = short = without = 0
    with replacing(output) as beside, beside.open("w", encoding="utf-8") as stream:
        for qid, text, positives in questions:
            same = {plain(positive) for positive in positives}
            found: list[str] = []
            for docid in hits[qid].docids if qid in hits else ():
                if docid not in documents:
                    raise InputError(f"the search found the document {docid!r}, which is not in the corpus")
                folded = plain(documents[docid])
                if folded and folded not in same:
                    same.add(folded)  # a copy of another negative teaches nothing more
                    found.append(documents[docid])
            found = found[skip:]
            if pick == "random":
                found = [found[number] for number in sorted(generator.permutation(len(found))[:negatives])]
            found = found[:negatives]
            without += not found
            short += 0 < len(found) < negatives
            for positive in positives if found else []:
                row = {"query": text, "positive": positive, "negatives": found}
                stream.write(json.dumps(row, ensure_ascii=False) + "\n")
                rows += 1
                total += len(found)
        if not rows:
            raise InputError("no negative was found for any query; is this the index of the corpus that was judged?")
    return Mined(rows, total, short, without)
