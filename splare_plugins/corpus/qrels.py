"""Relevance judgements, as TREC, BEIR and the hub write them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, get_args

from splare_plugins.corpus.documents import check_id
from splare_plugins.corpus.fields import JUDGEMENT_HEADERS, is_judgement_header
from splare_plugins.corpus.sources import FORMATS, file_format
from splare_plugins.corpus.tables import json_values, parquet_values
from splare_plugins.errors import InputError
from splare_plugins.machine.files import COMPRESSED, numbered_lines

_SHARD = re.compile(r"-\d+-of-\d+$")
Judgement = tuple[str, Any, Any, Any, Any]
"""Place, query, document, grade and subtopic, which only lines of four columns have; else it is empty."""
Subtopics = Literal["max"]
"""What becomes of a document that is judged apart for each subtopic of a query."""


def read_qrels(
    path: str | Path, *, split: str | None = None, subtopics: Subtopics | None = None
) -> dict[str, dict[str, int]]:
    """Read judgements: TREC's ``qid 0 docid relevance``, three columns, CSV, JSONL or Parquet, plain or compressed.

    A header is read where there is one, and tells which column is which. The same judgement may stand there twice.

    Args:
        path: a file, or a folder, of which the judgements of one split are read.
        split: of a folder; ``test`` if left out.
        subtopics: ``"max"`` gives a document that is judged under several subtopics of a query (the second column of
            TREC's four, as in diversity tasks) the highest of its grades; otherwise they must agree.

    Raises:
        InputError: for lines of another form, relevance that is not a whole number, a document that is judged in two
            ways for a query, a split that is not there, or a file without judgements, naming file and line.
    """
    path = Path(path)
    if path.is_dir():
        path = split_qrels(path, split or "test")
    elif split is not None:
        raise InputError(f"{path} is one file of judgements; a split is one of a folder, so omit --split")
    qrels: dict[str, dict[str, int]] = {}
    under: dict[tuple[str, str, str], int] = {}
    if subtopics not in (None, *get_args(Subtopics)):
        raise InputError(f"subtopics must be 'max' or left out, not {subtopics!r}")
    for where, qid, docid, relevance, subtopic in _judgements(path):
        qid = check_id(qid, where)
        judged = qrels.setdefault(qid, {})
        docid, grade = check_id(docid, where), _grade(relevance, docid, where)
        before = under.setdefault((qid, docid, subtopic), grade)
        if before == grade and (judged.setdefault(docid, grade) == grade or subtopics == "max"):
            judged[docid] = max(judged[docid], grade)
            continue
        other = before == grade
        way_out = (
            f" under the subtopic {subtopic}; --subtopics max (of splare evaluate) takes the highest"
            if other
            else "; remove one"
        )
        raise InputError(
            f"{where}: the document {docid!r} is judged twice for the query {qid!r}, "
            f"{judged[docid] if other else before} before and {grade} here{way_out}"
        )
    if not qrels:
        raise InputError(f"{path} holds no judgement")
    return qrels


def split_qrels(folder: Path, split: str) -> Path:
    """The judgements of a split of a BEIR folder, plain or compressed.

    Raises:
        InputError: if it has no such split, naming those that it has.
    """
    splits: dict[str, Path] = {}
    place = folder / "qrels" if (folder / "qrels").is_dir() else folder
    for path in sorted(place.iterdir()) if place.is_dir() else ():
        stem, dot, ending = (path.stem if path.suffix in COMPRESSED else path.name).rpartition(".")
        if not path.name.startswith(".") and dot + ending in (*FORMATS, ".qrels") and path.is_file():
            name = _SHARD.sub("", re.sub(r"^qrels[.-]", "", stem))
            if (twin := splits.setdefault(name, path)) is not path and name == split:
                raise InputError(
                    f"{place} holds both {twin.name} and {path.name}; remove one, or name the file itself"
                )
    if split not in splits:
        there = f"its splits are {', '.join(splits)}" if place != folder else f"it holds no qrels/{split}.tsv"
        raise InputError(f"{folder} has no {split} split: {there}; name one with --split, or the file itself")
    return splits[split]


def _judgements(path: Path) -> Iterator[Judgement]:
    kind = file_format(path)
    if kind in ("jsonl", "parquet"):
        for where, values in json_values(path) if kind == "jsonl" else parquet_values(path):
            names = [next((name for name in known if name in values), None) for known in JUDGEMENT_HEADERS]
            if None in names:
                raise InputError(f"{where}: judgements have query-id, corpus-id and score, not {', '.join(values)}")
            qid, docid, grade = (values[str(name)] for name in names)
            yield where, qid, docid, grade, ""
        return
    lines = (
        (f"{path}:{number}", [cell.strip() for cell in line.split(",")] if kind == "csv" else line.split())
        for number, line in numbered_lines(path)
        if line.strip()
    )
    order: tuple[int, int, int] | None = None
    width = 0
    for where, columns in lines:
        if not width:
            width = len(columns)
            order = _header(columns)
            if order is not None:
                continue
            if width not in (3, 4):
                raise InputError(
                    f"{where}: this line has {width} columns; it must be qid, 0, docid, relevance or qid, docid, "
                    "relevance, or a header must name query-id, corpus-id and score"
                )
            order = (0, width - 2, width - 1)
        if len(columns) != width:
            raise InputError(f"{where}: this line has {len(columns)} columns, and the first one has {width}")
        assert order is not None
        qid, docid, grade = (columns[number] for number in order)
        others = [column for number, column in enumerate(columns) if number not in order]
        yield where, qid, docid, grade, others[0] if others else ""


def _header(columns: Sequence[str]) -> tuple[int, int, int] | None:
    """Where query, document and grade stand, if this line is a header."""
    names = [name.lower().lstrip("#") for name in columns]
    if not is_judgement_header(names):
        return None
    query, document, grade = (
        next(number for number, name in enumerate(names) if name in known) for known in JUDGEMENT_HEADERS
    )
    return query, document, grade


def _grade(relevance: Any, docid: object, where: str) -> int:
    """A whole number; 1.0 is one too."""
    with suppress(TypeError, ValueError):
        if not isinstance(relevance, bool) and float(relevance).is_integer():
            return int(float(relevance))
    raise InputError(f"{where}: the relevance of {docid!r} must be a whole number, not {relevance!r}")
