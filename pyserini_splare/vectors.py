"""Anserini's ``JsonVectorCollection`` and pre-encoded queries: files that exchange vectors with other tools.

One JSON object a line: ``{"id": "d1", "contents": "...", "vector": {"f12345": 87}}``.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from scipy.sparse import csr_array

from splare_plugins.corpus.documents import plain_id
from splare_plugins.corpus.encoded import EncodedBatch
from splare_plugins.engines.base import IndexWriter
from splare_plugins.engines.checks import check_impacts
from splare_plugins.errors import InputError
from splare_plugins.impacts import latent_id, to_dicts
from splare_plugins.machine.files import read_jsonl, replacing

SUFFIXES = (".json", ".jsonl", ".gz")
_LARGEST = np.iinfo(np.int32).max


class JsonVectorWriter(IndexWriter):
    """Writes a collection file, whole or not at all; takes documents as every engine's writer does.

    Args:
        path: ends in ``.jsonl`` or ``.jsonl.gz``; what stands there is replaced.

    Raises:
        InputError: for another ending, or a place that cannot be written to.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.name.endswith((".jsonl", ".jsonl.gz")):
            raise InputError(f"{self.path} must end in .jsonl or .jsonl.gz, or Anserini does not read it")
        self._stack = ExitStack()
        place = self._stack.enter_context(replacing(self.path))
        opened = gzip.open if self.path.suffix == ".gz" else open
        self._stream: IO[str] = self._stack.enter_context(opened(place, "wt", encoding="utf-8", newline="\n"))

    def add(
        self, docids: Sequence[str], impacts: csr_array, documents: Sequence[Mapping[str, Any]] | None = None
    ) -> None:
        """Append one line for each document; the fields of ``documents`` stand beside the vector."""
        check_impacts(impacts, docids=docids)
        for docid, vector, fields in zip(docids, to_dicts(impacts), documents or [{}] * len(docids), strict=True):
            self._stream.write(json.dumps({"id": docid, **fields, "vector": vector}, ensure_ascii=False) + "\n")

    def commit(self) -> None:
        """Put the file at its place."""
        self._stack.close()

    def abort(self) -> None:
        """Leave what stood there before."""
        self._stack.__exit__(RuntimeError, RuntimeError("aborted"), None)


def write_json_vectors(
    path: str | Path, docids: Sequence[str], impacts: csr_array, contents: Sequence[str] | None = None
) -> None:
    """Write one file of a ``JsonVectorCollection``; a folder of such files is what Anserini indexes.

    Args:
        path: ends in ``.jsonl`` or ``.jsonl.gz``.
        docids: one per row.
        impacts: int32, shape ``(len(docids), width)``.
        contents: texts to keep beside the vectors.
    """
    with JsonVectorWriter(path) as writer:
        writer.add(docids, impacts, None if contents is None else [{"contents": text} for text in contents])


def read_json_vectors(
    source: str | Path, *, width: int | None = None, batch_size: int = 1000
) -> Iterator[EncodedBatch]:
    """Read a ``JsonVectorCollection``, some documents at a time.

    Args:
        source: a folder of ``.json``, ``.jsonl`` or ``.gz`` files, read in the order of their names, or one file.
        width: number of latents; without it each batch is as wide as the latents met so far need, rounded up to
            a power of two.
        batch_size: documents of a batch.

    Yields:
        Batches whose ``documents`` are the other fields of each line.

    Raises:
        InputError: naming file, line and id, for broken JSON, a missing id, a term that is not a latent, and a weight
            that is not an integer >= 1; Anserini would cut 3.7 down to 3 and drop 0.9.
    """
    terms = _Latents(width)
    lines = chain.from_iterable(map(_records, _files(Path(source))))
    while batch := [line for _, line in zip(range(batch_size), lines, strict=False)]:
        yield _batch(batch, terms)


def write_query_file(path: str | Path, qids: Sequence[str], texts: Sequence[str], impacts: csr_array) -> None:
    """Write queries with their vectors for ``python -m pyserini.search.lucene --impact --encoder FILE --min-idf -1``.

    The stock searcher looks a query up by its text, so ``texts`` are those of the topics that it is given.

    Args:
        path: ends in ``.jsonl``.
        qids: one per row; for people, the searcher does not read them.
        texts: one per row.
        impacts: int32, shape ``(len(qids), width)``.
    """
    with replacing(Path(path)) as place, place.open("w", encoding="utf-8", newline="\n") as stream:
        for qid, text, vector in zip(qids, texts, to_dicts(impacts), strict=True):
            stream.write(json.dumps({"qid": qid, "contents": text, "vector": vector}, ensure_ascii=False) + "\n")


class _Record(NamedTuple):
    where: str
    docid: str
    vector: dict[str, Any]
    fields: dict[str, Any]


class _Latents(dict[str, int]):
    """Latent ids by term, each term parsed once."""

    def __init__(self, width: int | None) -> None:
        super().__init__()
        self.fixed = width is not None
        self.width = 1 if width is None else width

    def __missing__(self, term: str) -> int:
        latent = latent_id(term)
        if latent >= self.width:
            if self.fixed:
                raise InputError(f"{term} is beyond the last latent f{self.width - 1}")
            self.width = 1 << latent.bit_length()
        self[term] = latent
        return latent


def _files(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise InputError(f"there is no collection at {source}")
    files = sorted(path for path in source.iterdir() if path.suffix in SUFFIXES and not path.name.startswith("."))
    if not files:
        raise InputError(f"{source} has no files that end in {', '.join(SUFFIXES)}")
    return files


def _records(path: Path) -> Iterator[_Record]:
    for where, fields in read_jsonl(path):
        docid, vector = plain_id(fields.pop("id", None)), fields.pop("vector", None)
        if not isinstance(docid, str) or not docid or not isinstance(vector, dict):
            raise InputError(f'{where} must have "id" and "vector": a text or whole number and an object of weights')
        yield _Record(where, docid, vector, fields)


def _batch(records: list[_Record], latents: _Latents) -> EncodedBatch:
    indptr = np.cumsum([0, *(len(record.vector) for record in records)])
    weights = list(chain.from_iterable(record.vector.values() for record in records))
    try:
        terms = chain.from_iterable(record.vector for record in records)
        indices = np.fromiter(map(latents.__getitem__, terms), np.int32, len(weights))
        values = np.array(weights, dtype=np.float64)
    except (InputError, OverflowError, TypeError, ValueError):
        raise _first_fault(records, latents) from None
    # One pass over types and one over values; only a batch at fault is looked at weight by weight.
    whole = (values == np.floor(values)) & (values >= 1) & (values <= _LARGEST)
    if not (whole.all() and set(map(type, weights)) <= {int, float}):
        raise _first_fault(records, latents)
    impacts = csr_array((values.astype(np.int32), indices, indptr), shape=(len(records), latents.width))
    impacts.sort_indices()
    return EncodedBatch.of_vectors(
        [record.docid for record in records], impacts, [record.fields for record in records]
    )


def _first_fault(records: list[_Record], latents: _Latents) -> InputError:
    for record in records:
        for term, weight in record.vector.items():
            try:
                latents[term]
            except InputError as error:
                return InputError(f"{record.where}, document {record.docid!r}: {error}")
            if type(weight) not in (int, float) or not (1 <= weight <= _LARGEST and weight == int(weight)):
                return InputError(
                    f"{record.where}, document {record.docid!r}: the weight of {term} is {weight!r}, and impacts are "
                    "integers >= 1; quantise the weights first"
                )
    raise AssertionError("called for a batch without a fault")
