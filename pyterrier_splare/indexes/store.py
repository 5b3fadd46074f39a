"""What an index keeps of its documents beside the inverted lists: texts and vectors by docno.

One Arrow file in the index folder, written batch by batch and read from the disk as needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.sparse import csr_array

from splare_plugins.errors import InputError

STORE_FILE = "stored.arrow"
_DOCNO, _LATENTS, _IMPACTS, _FIELD = "docno", "latents", "impacts", "field:"


class StoreWriter:
    """Writes the file.

    Args:
        folder: of the index that is being built.
        texts: keep all columns with texts that the first document has.
        vectors: keep the impacts.
    """

    def __init__(self, folder: Path, *, texts: bool, vectors: bool) -> None:
        self._path = folder / STORE_FILE
        self._texts = texts
        self._vectors = vectors
        self._names: list[str] = []
        self._file: Any = None

    def add(self, docnos: Sequence[str], impacts: csr_array, fields: Sequence[Mapping[str, Any]]) -> None:
        """Append documents.

        Raises:
            InputError: if a document has a text that the first one did not have, or another type instead of a text.
        """
        if self._file is None:
            self._names = sorted(name for name, value in fields[0].items() if isinstance(value, str) and self._texts)
            if self._texts and not self._names:
                raise InputError(f"document {docnos[0]!r} has no text to store; give it a column with a text")
        columns: dict[str, Any] = {_DOCNO: pa.array(docnos, pa.string())}
        for name in self._names:
            columns[_FIELD + name] = pa.array([self._text(*each, name) for each in zip(docnos, fields, strict=True)])
        if self._vectors:
            offsets = pa.array(impacts.indptr, pa.int32())
            for name, values in ((_LATENTS, impacts.indices), (_IMPACTS, impacts.data)):
                columns[name] = pa.ListArray.from_arrays(offsets, pa.array(values, pa.int32()))
        batch = pa.record_batch(columns)
        if self._file is None:
            self._file = pa.ipc.new_file(str(self._path), batch.schema)
        self._file.write_batch(batch)

    def close(self) -> None:
        """Complete the file."""
        if self._file is not None:
            self._file.close()

    def _text(self, docno: str, fields: Mapping[str, Any], name: str) -> str:
        text = fields.get(name, "")
        if not isinstance(text, str):
            raise InputError(
                f"document {docno!r} has {text!r} in the column {name!r}, which is not a text; fill it first"
            )
        return text


class Store:
    """Reads the file.

    Args:
        folder: of the index.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        path = folder / STORE_FILE
        self._table = pa.ipc.open_file(pa.memory_map(str(path))).read_all() if path.is_file() else pa.table({})

    @property
    def fields(self) -> list[str]:
        """Names of the texts that are kept."""
        return [name.removeprefix(_FIELD) for name in self._table.column_names if name.startswith(_FIELD)]

    def require(self, *, texts: Sequence[str] = (), vectors: bool = False) -> None:
        """Refuse to go on without what was not kept.

        Raises:
            InputError: saying how to keep it.
        """
        if vectors and _IMPACTS not in self._table.column_names:
            raise InputError(
                f"the index at {self._folder} has no vectors of its documents; build it with "
                "index.indexer(store_vectors=True)"
            )
        if missing := next((name for name in texts if name not in self.fields), None):
            raise InputError(
                f"the index at {self._folder} has no column {missing!r} of its documents; build it from documents "
                "that have it, with index.indexer(store_text=True)"
            )

    def texts(self, docnos: Sequence[str], name: str) -> list[str]:
        """One text a docno."""
        texts: list[str] = self._table[_FIELD + name].take(self._rows(docnos)).to_pylist()
        return texts

    def document(self, docno: str) -> dict[str, str] | None:
        """All texts of a document; ``None`` if none are kept, or there is no such document."""
        if not self.fields or docno not in self._numbers:
            return None
        return {name: self.texts([docno], name)[0] for name in self.fields}

    def vectors(self, docnos: Sequence[str], width: int) -> csr_array:
        """Impacts, int32, shape ``(len(docnos), width)``."""
        return _matrix(self._table.select([_LATENTS, _IMPACTS]).take(self._rows(docnos)), width)

    def all_texts(self) -> Iterator[tuple[str, dict[str, str]]]:
        """Docno and texts of every document."""
        for batch in self._table.to_batches():
            columns = [batch[_FIELD + name].to_pylist() for name in self.fields]
            for docno, *texts in zip(batch[_DOCNO].to_pylist(), *columns, strict=True):
                yield docno, dict(zip(self.fields, texts, strict=True))

    def vector(self, docno: str, width: int) -> csr_array | None:
        """Impacts of a document, shape ``(1, width)``; ``None`` if none are kept, or there is no such document."""
        kept = _IMPACTS in self._table.column_names and docno in self._numbers
        return self.vectors([docno], width) if kept else None

    def batches(self, width: int) -> Iterator[tuple[list[str], csr_array, dict[str, list[str]]]]:
        """All documents in the order in which they were indexed: docnos, impacts and texts."""
        for batch in self._table.to_batches():
            texts = {name: batch[_FIELD + name].to_pylist() for name in self.fields}
            yield batch[_DOCNO].to_pylist(), _matrix(pa.table(batch), width), texts

    def _rows(self, docnos: Sequence[str]) -> Any:
        try:
            return pa.array([self._numbers[docno] for docno in docnos], pa.int64())
        except KeyError as error:
            raise InputError(f"docno {error} is not in the index at {self._folder}") from None

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {docno: row for row, docno in enumerate(self._table[_DOCNO].to_pylist())}


def _matrix(table: Any, width: int) -> csr_array:
    latents, impacts = (table[name].combine_chunks() for name in (_LATENTS, _IMPACTS))
    lengths = latents.value_lengths().to_numpy(zero_copy_only=False)
    bounds = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    parts = (impacts.flatten().to_numpy(), latents.flatten().to_numpy(), bounds)
    return csr_array(parts, shape=(len(lengths), width))
