"""Results with what their index kept of the documents: texts, vectors, and scores from vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

import numpy as np
import pandas as pd
import pyterrier as pt

from pyterrier_splare.identity import Latents, Origin
from pyterrier_splare.indexes.retriever import Source, query_impacts
from pyterrier_splare.indexes.store import Store
from pyterrier_splare.role import Bound, KeepsRows
from pyterrier_splare.scorer import row_products
from splare_plugins.impacts import to_dicts


class Stored(Source, Protocol):
    """What loaders ask of an index beside what the retriever does."""

    def store(self) -> Store:
        """What it kept of its documents."""
        ...


class _Loader(Bound):
    """Made by a method of an index, which documents it."""

    _owner = "index"

    def __init__(self, index: Stored) -> None:
        self.index = index


class TextLoader(_Loader, KeepsRows):
    """Made by ``index.text_loader()``."""

    schematic: ClassVar = {"label": "SPLARE text loader"}
    _method = "text_loader"

    def __init__(self, index: Stored, fields: Sequence[str]) -> None:
        super().__init__(index)
        self.fields = list(fields)

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Add columns to documents or results."""
        pt.validate.columns(inp, includes=["docno"], context=self)
        store, docnos = self.index.store(), inp["docno"].tolist()
        return inp.assign(**{name: store.texts(docnos, name) if docnos else [] for name in self.fields})


class VectorLoader(_Loader, KeepsRows):
    """Made by ``index.vec_loader()``."""

    schematic: ClassVar = {"label": "SPLARE toks loader"}
    _method = "vec_loader"

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Add ``toks`` to documents or results."""
        pt.validate.columns(inp, includes=["docno"], context=self)
        if not len(inp):
            return inp.assign(toks=[])
        rows = to_dicts(self.index.store().vectors(inp["docno"].tolist(), int(self.index.width or 0)))
        return inp.assign(toks=signed(self.index, rows))


class IndexScorer(_Loader):
    """Made by ``index.scorer()``."""

    schematic: ClassVar = {"label": "SPLARE index scorer"}
    _method = "scorer"

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Set ``score`` and ``rank`` of results with ``query_toks``; the rows keep their order."""
        pt.validate.result_frame(inp, ["query_toks"], context=self)
        if not len(inp):
            return pt.model.add_ranks(inp.assign(score=np.empty(0)))
        queries = inp.drop_duplicates("qid")
        numbers = {qid: row for row, qid in enumerate(queries["qid"].tolist())}
        impacts = query_impacts(queries, self.index)
        documents = self.index.store().vectors(inp["docno"].tolist(), impacts.shape[1])
        rows = [numbers[qid] for qid in inp["qid"].tolist()]
        scores = row_products(impacts, rows, documents, list(range(len(rows))))
        return pt.model.add_ranks(inp.assign(score=scores))


def signed(index: Source, rows: Sequence[dict[str, int]]) -> list[Any]:
    """Latents that know the model of the index, if it is known."""
    config = index.config
    if config is None:
        return list(rows)
    origin = Origin.of(config)
    return [Latents(row, origin) for row in rows]
