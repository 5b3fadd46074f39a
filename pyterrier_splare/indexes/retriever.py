"""Queries with ``query_toks`` to results, whatever the back end."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

import numpy as np
import pandas as pd
import pyterrier as pt
from scipy.sparse import csr_array

from pyterrier_splare.columns import to_impacts
from pyterrier_splare.identity import is_stale, require_same_model
from pyterrier_splare.indexes import pisa, seismic_engine
from splare_plugins.config import SplareConfig
from splare_plugins.engines.base import Hits, Searcher
from splare_plugins.engines.checks import check_k
from splare_plugins.errors import InputError
from splare_plugins.retrieval.indexing import search_queries
from splare_plugins.steering import Weights


class Source(Protocol):
    """What the retriever asks of an index: :class:`pyterrier_splare.SplareIndex`.

    Attributes:
        path: its folder.
    """

    path: Any

    @property
    def config(self) -> SplareConfig | None:
        """The model that made it."""
        ...

    @property
    def width(self) -> int | None:
        """Number of latents."""
        ...

    def searcher(self, **options: Any) -> Searcher:
        """The open index."""
        ...


class SplareRetriever(pt.Transformer):
    """Made by ``index.retriever()``; its settings are attributes, which ``pt.GridScan`` tunes.

    Scores are the integer dot products of impacts, so results of different indexes, and of different queries, can be
    added and compared. A query without latents has no results.

    Args:
        index: the index to search; opened when the first query comes.
        num_results: most documents per query.
        weights: latents of all queries to switch off, turn up or put in; see :data:`splare_plugins.steering.Weights`.
        verbose: show a progress bar.

    Raises:
        InputError: for a duplicate qid, a query that was rewritten after it was encoded, or a weight that is not an
            impact, naming the query.
        IdentityError: for queries that another model encoded.
    """

    schematic: ClassVar = {"label": "SPLARE retriever"}
    # Attributes that are options of the back end's searcher, unless they are None.
    _options: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self, index: Source, *, num_results: int = 1000, weights: Weights | None = None, verbose: bool = False
    ) -> None:
        self.index = index
        self.num_results = num_results
        self.weights = weights
        self.verbose = verbose

    def __setattr__(self, name: str, value: Any) -> None:
        self._check(name, value)
        super().__setattr__(name, value)

    def _check(self, name: str, value: Any) -> None:
        """Refuse a setting when it is made, by the constructor or by tuning."""
        if name == "num_results":
            check_k(value)

    @property
    def options(self) -> dict[str, Any]:
        """Of the back end's searcher."""
        given = {name: getattr(self, name) for name in self._options}
        return {name: value for name, value in given.items() if value is not None}

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Search all queries of a frame."""
        pt.validate.query_frame(inp, extra_columns=["query_toks"], context=self)
        queries = inp.drop(columns=[name for name in ("docno", "score", "rank") if name in inp.columns])
        hits = self._search(queries) if len(queries) else []
        counts = np.array([len(each.docids) for each in hits], dtype=np.int64)
        found = queries.iloc[np.repeat(np.arange(len(hits)), counts)].reset_index(drop=True)
        found["docno"] = np.array([docid for each in hits for docid in each.docids], dtype=object)
        found["score"] = np.concatenate([np.zeros(0), *(each.scores for each in hits)])
        found["rank"] = np.concatenate([np.zeros(0, dtype=np.int64), *(np.arange(count) for count in counts.tolist())])
        return found

    def fuse_rank_cutoff(self, k: int) -> SplareRetriever | None:
        """The retriever that asks for ``k`` documents in the first place, instead of cutting results."""
        if k >= self.num_results:
            return None
        fused: SplareRetriever = pt.inspect.transformer_apply_attributes(self, num_results=k)
        return fused

    def subtransformers(self) -> dict[str, Any]:
        """None: the index is not a stage of the pipeline."""
        return {}

    def _search(self, queries: pd.DataFrame) -> list[Hits]:
        qids = [str(qid) for qid in queries["qid"].tolist()]
        if len(set(qids)) < len(qids):
            twice = next(qid for qid in qids if qids.count(qid) > 1)
            raise InputError(f"the qid {twice!r} occurs twice; qids must be unique")
        impacts = query_impacts(queries, self.index)
        searcher = self.index.searcher(**self.options)
        with pt.tqdm(total=len(qids), desc=repr(self.index), unit="q", disable=not self.verbose) as bar:
            run = search_queries(
                searcher, qids, impacts, self.num_results, weights=self.weights, on_progress=bar.update
            )
        return list(run.values())

    def __repr__(self) -> str:
        settings = {"num_results": self.num_results, **self.options}
        if self.weights:
            settings["weights"] = dict(self.weights)
        return f"{self.index!r}.retriever({', '.join(f'{name}={value!r}' for name, value in settings.items())})"


def query_impacts(queries: pd.DataFrame, index: Source) -> csr_array:
    """Impacts of ``query_toks``, checked against the index and against the queries beside them.

    Raises:
        InputError: for a query that was rewritten after it was encoded, or a weight that is not an impact.
        IdentityError: for queries that another model encoded.
    """
    qids, cells = queries["qid"].tolist(), queries["query_toks"].tolist()

    def name(row: int) -> str:
        return f"query {str(qids[row])!r}"

    for row, (cell, text) in enumerate(zip(cells, queries.get("query", cells), strict=True)):
        if is_stale(cell, text):
            raise InputError(
                f"{name(row)} is {text!r} now, but its query_toks were made of {cell.text!r}; encode it again "
                "after it was rewritten"
            )
    require_same_model(cells, index.config, f"the index at {index.path}", name)
    return to_impacts(cells, index.width, name)


class PisaRetriever(SplareRetriever):
    """Made by ``SplareIndex.pisa(...).retriever()``, which documents the settings."""

    _options = ("threads", "algorithm")

    def __init__(
        self,
        index: Source,
        *,
        num_results: int = 1000,
        threads: int = 1,
        algorithm: str = pisa.ALGORITHMS[0],
        weights: Weights | None = None,
        verbose: bool = False,
    ) -> None:
        super().__init__(index, num_results=num_results, weights=weights, verbose=verbose)
        self.threads = threads
        self.algorithm = algorithm

    def _check(self, name: str, value: Any) -> None:
        super()._check(name, value)
        if name in self._options:
            pisa.check_option(name, value)


class MemoryRetriever(SplareRetriever):
    """Made by ``SplareIndex.memory(...).retriever()``, which documents the settings."""

    _options = ("device",)

    def __init__(
        self,
        index: Source,
        *,
        num_results: int = 1000,
        device: str = "cpu",
        weights: Weights | None = None,
        verbose: bool = False,
    ) -> None:
        super().__init__(index, num_results=num_results, weights=weights, verbose=verbose)
        self.device = device


class SeismicRetriever(SplareRetriever):
    """Made by ``SplareIndex.seismic(...).retriever()``, which documents the settings."""

    _options = ("preset", "query_cut", "heap_factor", "threads")

    def __init__(
        self,
        index: Source,
        *,
        num_results: int = 1000,
        preset: str = "fast",
        query_cut: int | None = None,
        heap_factor: float | None = None,
        threads: int = 1,
        weights: Weights | None = None,
        verbose: bool = False,
    ) -> None:
        super().__init__(index, num_results=num_results, weights=weights, verbose=verbose)
        self.preset = preset
        self.query_cut = query_cut
        self.heap_factor = heap_factor
        self.threads = threads

    def _check(self, name: str, value: Any) -> None:
        super()._check(name, value)
        if name in self._options:
            seismic_engine.check_option(name, value)
