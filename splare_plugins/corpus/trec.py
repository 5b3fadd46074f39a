"""Runs, as TREC and MS MARCO write them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from splare_plugins.engines.base import Hits
from splare_plugins.errors import InputError
from splare_plugins.machine.files import numbered_lines, replacing

_MSMARCO = 3
_WHITE_SPACE = re.compile(r"\s")


def write_run(path: str | Path, run: Mapping[str, Hits], tag: str = "splare") -> None:
    """Write ``qid Q0 docid rank score tag`` lines, ranks from 1, whole or not at all.

    Queries come in the order of ``run``, documents in the order of their hits. Whole scores are written as integers,
    others so that they read back to the same number. Queries without hits have no line.

    Raises:
        InputError: for ids with white space, scores that are not numbers or not in falling order, or a place that
            cannot be written to.
    """
    path = Path(path)
    if not tag or _WHITE_SPACE.search(tag):
        raise InputError(f"the tag of a run must be one word, not {tag!r}")
    with replacing(path) as beside, beside.open("w", encoding="utf-8", newline="\n") as stream:
        for qid, hits in run.items():
            _check_hits(qid, hits)
            for rank, (docid, score) in enumerate(zip(hits.docids, hits.scores.tolist(), strict=True), start=1):
                shown = int(score) if float(score).is_integer() else repr(float(score))
                stream.write(f"{qid} Q0 {docid} {rank} {shown} {tag}\n")


def read_run(path: str | Path) -> dict[str, Hits]:
    """Read a run of TREC, or of MS MARCO's ``qid docid rank``, plain or compressed.

    As in trec_eval, the score decides the order, not the rank; equal scores keep the order of the file. A run without
    scores has those of its ranks, 1, 1/2, 1/3 and so on.

    Raises:
        InputError: for lines without six or three columns, scores that are not numbers, or a document that comes
            twice for a query, naming file and line.
    """
    found: dict[str, dict[str, float]] = {}
    width = 0
    for where, columns in _lines(Path(path)):
        width = width or (_MSMARCO if len(columns) == _MSMARCO else 6)
        if len(columns) != width:
            form = "qid docid rank" if width == _MSMARCO else "qid Q0 docid rank score tag"
            raise InputError(f"{where}: a line of a run is '{form}', but this has {len(columns)} columns")
        if width == _MSMARCO:
            qid, docid, rank = columns
            score = 1 / _rank(rank, where)
        else:
            qid, _, docid, _, said, _ = columns
            score = _score(said, where)
        documents = found.setdefault(qid, {})
        if docid in documents:
            raise InputError(f"{where}: the document {docid!r} comes twice for the query {qid!r}; remove one")
        documents[docid] = score
    return {qid: _ranked(documents) for qid, documents in found.items()}


def _lines(path: Path) -> Iterator[tuple[str, list[str]]]:
    """The place and the columns of each line that has some."""
    for number, line in numbered_lines(path):
        if columns := line.split():
            yield f"{path}:{number}", columns


def _check_hits(qid: str, hits: Hits) -> None:
    for name in (qid, *hits.docids):
        if not name or _WHITE_SPACE.search(name):
            raise InputError(f"the id {name!r} cannot stand in a TREC run, which is split at white space; rename it")
    if not np.isfinite(hits.scores).all():
        raise InputError(f"the query {qid!r} has a score that is not a finite number")
    if (np.diff(hits.scores) > 0).any():
        raise InputError(f"the hits of the query {qid!r} are not in the order of their scores")


def _rank(text: str, where: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text)):
        raise InputError(f"{where}: the rank must be a whole number from 1, not {text!r}")
    return int(text)


def _score(text: str, where: str) -> float:
    try:
        score = float(text)
    except ValueError:
        score = float("nan")
    if not np.isfinite(score):
        raise InputError(f"{where}: the score must be a finite number, not {text!r}")
    return score


def _ranked(documents: dict[str, float]) -> Hits:
    docids = sorted(documents, key=lambda docid: -documents[docid])
    return Hits(docids, np.array([documents[docid] for docid in docids], dtype=np.float64))
