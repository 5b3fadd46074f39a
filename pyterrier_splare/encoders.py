"""Encoders of a column: queries to ``query_toks``, documents to ``toks``."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import pyterrier as pt
from more_itertools import chunked

from pyterrier_splare.columns import distinct, require_docnos, require_new_qids, require_records
from pyterrier_splare.identity import Latents, Origin
from pyterrier_splare.role import FactorySetting, Role, RowRole
from splare_plugins.config import Side
from splare_plugins.impacts import to_dicts

if TYPE_CHECKING:
    import pandas as pd


class ColumnEncoder(Role):
    """Adds a column with the vector of each row's text; a subclass makes the vectors.

    Each different text is encoded once. A stream is encoded in windows of ``batch_size`` records, so that a corpus of
    any size fits.

    Raises:
        InputError: for a text or a docno that is not a string, or a query frame with one qid twice.
    """

    _side: ClassVar[Side]
    _output: ClassVar[str]

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Encode a frame of queries or documents, or of results."""
        ids, texts = self._columns(self._side)
        with pt.validate.any(inp, context=self) as accepted:
            (accepted.query_frame if self._side == "query" else accepted.document_frame)([texts])
            accepted.result_frame([texts])
        self._check_ids(inp[ids].tolist(), results={"qid", "docno"} <= set(inp.columns), seen=set())
        return inp.assign(**{self._output: self.encode_column(self._texts(self._side, inp), inp[ids].tolist())})

    def transform_iter(self, inp: pt.model.IterDict) -> pt.model.IterDict:
        """Encode a stream, ``batch_size`` records at a time."""
        _, texts = self._columns(self._side)
        inp = pt.utils.peekable(inp)
        require_records(inp)
        with pt.validate.any_iter(inp, context=self) as accepted:
            accepted.empty()
            (accepted.query_iter if self._side == "query" else accepted.document_iter)([texts])
            accepted.result_iter([texts])
        return self._stream(inp)

    def encode_column(self, texts: Sequence[object], ids: Sequence[object]) -> list[Any]:
        """One vector a row; rows of the same text share it."""
        id_column, text_column = self._columns(self._side)
        found = distinct(texts, ids, column=text_column, kind=id_column)
        vectors = self._vectors(found.texts, found.owners) if found.texts else []
        return [vectors[place] for place in found.places]

    @abstractmethod
    def _vectors(self, texts: list[str], owners: list[str]) -> Sequence[Any]:
        """Vectors of different texts, one or more; ``owners`` name them in messages."""

    def _stream(self, inp: pt.model.IterDict) -> Iterator[dict[str, Any]]:
        id_column, text_column = self._columns(self._side)
        seen: set[object] = set()
        for window in chunked(inp, self.batch_size):
            ids = [record.get(id_column) for record in window]
            self._check_ids(ids, results={"qid", "docno"} <= set(window[0]), seen=seen)
            columns = {text_column: [record.get(text_column) for record in window]}
            if any(self.splare.title_field in record for record in window):
                columns[str(self.splare.title_field)] = [record.get(self.splare.title_field) for record in window]
            vectors = self.encode_column(self._texts(self._side, columns), ids)
            yield from ({**record, self._output: each} for record, each in zip(window, vectors, strict=True))

    def _check_ids(self, ids: Sequence[object], *, results: bool, seen: set[object]) -> None:
        if self._side == "document":
            require_docnos(ids)
        elif not results:
            require_new_qids(ids, seen)


class SparseEncoder(ColumnEncoder):
    """Vectors are :class:`Latents`, ``{"f12345": 87}``; what was in the column is replaced."""

    def _vectors(self, texts: list[str], owners: list[str]) -> list[Latents]:
        rows = to_dicts(self.splare.encode(texts, self._side, owners))
        origin = Origin.of(self.splare.config)
        return [Latents(row, origin, text) for row, text in zip(rows, texts, strict=True)]


class SplareQueryEncoder(SparseEncoder):
    """Adds ``query_toks`` to queries, or to results with their queries; an empty query has no latents."""

    schematic: ClassVar = {"label": "SPLARE query"}
    _method = "query_encoder"
    _side = "query"
    _output = "query_toks"
    query_top_k = FactorySetting()


class SplareDocEncoder(SparseEncoder, RowRole):
    """Adds ``toks`` to documents, or to results with their texts."""

    schematic: ClassVar = {"label": "SPLARE doc"}
    _method = "doc_encoder"
    _side = "document"
    _output = "toks"
    doc_top_k = FactorySetting()
