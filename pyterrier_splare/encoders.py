"""Queries to ``query_toks`` and documents to ``toks``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import pyterrier as pt
from more_itertools import chunked
from scipy.sparse import csr_array

from pyterrier_splare.identity import sign
from pyterrier_splare.role import Role, RowRole
from pyterrier_splare.texts import Distinct, distinct, require_docnos, require_new_qids
from splare_plugins.impacts import to_dicts

if TYPE_CHECKING:
    import pandas as pd

Weights = Mapping[str, float]
Record = dict[str, Any]


class SplareQueryEncoder(Role):
    """Adds ``query_toks``, ``{"f12345": 87}``, to queries, or to results with their queries.

    Each different text is encoded once. An empty query has no latents; what was in ``query_toks`` is replaced.

    Raises:
        InputError: for a query that is no text, or a query frame with one qid twice.
    """

    schematic: ClassVar = {"label": "SPLARE query"}
    _method = "query_encoder"

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Encode a frame of queries or of results."""
        with pt.validate.any(inp, context=self) as accepted:
            accepted.query_frame(["query"])
            accepted.result_frame(["query"])
        if "docno" not in inp.columns:
            require_new_qids(inp["qid"].tolist(), set())
        encoded = inp.assign(query_toks=self._encode(inp["query"].tolist(), inp["qid"].tolist()))
        return sign(encoded, self.splare.config) if len(encoded) else encoded

    def transform_iter(self, inp: pt.model.IterDict) -> pt.model.IterDict:
        """Encode a stream, ``batch_size`` records at a time."""
        inp = pt.utils.peekable(inp)
        with pt.validate.any_iter(inp, context=self) as accepted:
            accepted.empty()
            accepted.query_iter(["query"])
            accepted.result_iter(["query"])
        return self._stream(inp)

    def _stream(self, inp: pt.model.IterDict) -> Iterator[Record]:
        seen: set[object] = set()
        for window in chunked(inp, self.batch_size):
            qids = [record.get("qid") for record in window]
            if "docno" not in window[0]:
                require_new_qids(qids, seen)
            tokens = self._encode([record.get("query") for record in window], qids)
            yield from ({**record, "query_toks": each} for record, each in zip(window, tokens, strict=True))

    def _encode(self, queries: list[object], qids: list[object]) -> list[Weights]:
        return _tokens(distinct(queries, qids, column="query", kind="qid"), self.splare.encode_queries)


class SplareDocEncoder(RowRole):
    """Adds ``toks``, ``{"f12345": 87}``, to documents, or to results with their texts.

    Each different text is encoded once. A stream is encoded in windows of ``batch_size`` records, so that a corpus of
    any size fits.

    Raises:
        InputError: for a text that is no text, or a docno that is no string.
    """

    schematic: ClassVar = {"label": "SPLARE doc"}
    _method = "doc_encoder"

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Encode a frame of documents or of results."""
        field = self.splare.text_field
        with pt.validate.any(inp, context=self) as accepted:
            accepted.document_frame([field])
            accepted.result_frame([field])
        encoded = inp.assign(toks=self._encode(inp[field].tolist(), inp["docno"].tolist()))
        return sign(encoded, self.splare.config) if len(encoded) else encoded

    def transform_iter(self, inp: pt.model.IterDict) -> pt.model.IterDict:
        """Encode a stream, ``batch_size`` records at a time."""
        inp = pt.utils.peekable(inp)
        with pt.validate.any_iter(inp, context=self) as accepted:
            accepted.empty()
            accepted.document_iter([self.splare.text_field])
            accepted.result_iter([self.splare.text_field])
        return self._stream(inp)

    def _stream(self, inp: pt.model.IterDict) -> Iterator[Record]:
        field = self.splare.text_field
        for window in chunked(inp, self.batch_size):
            docnos = [record.get("docno") for record in window]
            tokens = self._encode([record.get(field) for record in window], docnos)
            yield from ({**record, "toks": each} for record, each in zip(window, tokens, strict=True))

    def _encode(self, texts: list[object], docnos: list[object]) -> list[Weights]:
        require_docnos(docnos)
        found = distinct(texts, docnos, column=self.splare.text_field, kind="docno")
        return _tokens(found, self.splare.encode_documents)


def _tokens(found: Distinct, encode: Callable[[list[str], list[str]], csr_array]) -> list[Weights]:
    """One dictionary a row; rows of the same text share it."""
    if not found.texts:
        return []
    rows = to_dicts(encode(found.texts, found.owners))
    return [rows[place] for place in found.places]
