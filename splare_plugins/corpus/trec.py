"""TREC runs and relevance judgements."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from splare_plugins.engines.base import Hits
from splare_plugins.errors import InputError
from splare_plugins.machine.files import numbered_lines, replacing

_QRELS_HEADERS = {("query-id", "corpus-id", "score"), ("query_id", "corpus_id", "score")}
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
    """Read a TREC run, plain or ``.gz``.

    As in trec_eval, the score decides the order, not the rank; equal scores keep the order of the file.

    Raises:
        InputError: for lines without six columns, scores that are not numbers, or a document that comes twice for a
            query, naming file and line.
    """
    found: dict[str, dict[str, float]] = {}
    for where, columns in _lines(Path(path)):
        if len(columns) != 6:
            raise InputError(
                f"{where}: a line of a run is 'qid Q0 docid rank score tag', but this has {len(columns)} columns"
            )
        qid, _, docid, _, score, _ = columns
        documents = found.setdefault(qid, {})
        if docid in documents:
            raise InputError(f"{where}: the document {docid!r} comes twice for the query {qid!r}; remove one")
        documents[docid] = _score(score, where)
    return {qid: _ranked(documents) for qid, documents in found.items()}


def read_qrels(path: str | Path) -> dict[str, dict[str, int]]:
    """Read judgements: BEIR's three columns with a header, or TREC's ``qid 0 docid relevance``, plain or ``.gz``.

    A folder means the test split of a BEIR folder, ``qrels/test.tsv``.

    Raises:
        InputError: for lines of another form, relevance that is not a whole number, a document that is judged twice
            for a query, or a file without judgements, naming file and line.
    """
    path = _qrels_file(Path(path))
    qrels: dict[str, dict[str, int]] = {}
    width = 0
    for where, columns in _lines(path):
        if not width:
            width = 3 if tuple(columns) in _QRELS_HEADERS else 4
            if width == 3:
                continue
        if len(columns) != width:
            trec = "qid, 0, docid, relevance (or start with BEIR's header)"
            form = "query-id, corpus-id, score" if width == 3 else trec
            raise InputError(f"{where}: this line has {len(columns)} columns; it must be {form}")
        qid, docid, relevance = columns[0], columns[-2], columns[-1]
        judged = qrels.setdefault(qid, {})
        if docid in judged:
            raise InputError(f"{where}: the document {docid!r} is judged twice for the query {qid!r}; remove one")
        try:
            judged[docid] = int(relevance)
        except ValueError as error:
            raise InputError(
                f"{where}: the relevance of {docid!r} must be a whole number, not {relevance!r}"
            ) from error
    if not qrels:
        raise InputError(f"{path} holds no judgement")
    return qrels


def split_qrels(folder: Path, split: str) -> Path:
    """The judgements of a split of a BEIR folder, plain or ``.gz``.

    Raises:
        InputError: if it has no such split.
    """
    paths = [folder / "qrels" / f"{split}.tsv{end}" for end in ("", ".gz")]
    if (found := next((path for path in paths if path.is_file()), None)) is None:
        raise InputError(f"{folder} has no {split} split: there is no {paths[0]}")
    return found


def _lines(path: Path) -> Iterator[tuple[str, list[str]]]:
    """The place and the columns of each line that has some."""
    for number, line in numbered_lines(path):
        if columns := line.split():
            yield f"{path}:{number}", columns


def _qrels_file(path: Path) -> Path:
    if not path.is_dir():
        return path
    for folder in (path / "qrels", path):
        for name in ("test.tsv", "test.tsv.gz"):
            if (folder / name).is_file():
                return folder / name
    raise InputError(f"{path} holds no qrels/test.tsv; name the file with the judgements itself")


def _check_hits(qid: str, hits: Hits) -> None:
    for name in (qid, *hits.docids):
        if not name or _WHITE_SPACE.search(name):
            raise InputError(f"the id {name!r} cannot stand in a TREC run, which is split at white space; rename it")
    if not np.isfinite(hits.scores).all():
        raise InputError(f"the query {qid!r} has a score that is not a finite number")
    if (np.diff(hits.scores) > 0).any():
        raise InputError(f"the hits of the query {qid!r} are not in the order of their scores")


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
