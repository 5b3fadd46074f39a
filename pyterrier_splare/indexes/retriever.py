"""Queries with ``query_toks`` to results, whatever the back end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

import numpy as np
import pandas as pd
import pyterrier as pt

from pyterrier_splare.columns import to_impacts
from pyterrier_splare.identity import require_same_model
from splare_plugins.config import SplareConfig
from splare_plugins.engines.base import Hits, Searcher
from splare_plugins.engines.checks import check_k
from splare_plugins.errors import InputError
from splare_plugins.retrieval.indexing import search_queries


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
    """Made by ``index.retriever()``.

    Scores are the integer dot products of impacts, so results of different indexes, and of different queries, can be
    added and compared. A query without latents has no results.

    Args:
        index: the index to search; opened when the first query comes.
        num_results: most documents per query.
        verbose: show a progress bar.
        options: those of the back end's searcher.

    Raises:
        InputError: for a duplicate qid, or a weight that is not an impact, naming the query.
        IdentityError: for queries that another model has signed.
    """

    schematic: ClassVar = {"label": "SPLARE retriever"}

    def __init__(
        self,
        index: Source,
        *,
        num_results: int = 1000,
        verbose: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        check_k(num_results)
        self.index = index
        self.num_results = num_results
        self.verbose = verbose
        self.options = dict(options or {})

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Search all queries of a frame."""
        pt.validate.query_frame(inp, extra_columns=["query_toks"])
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
        return SplareRetriever(self.index, num_results=k, verbose=self.verbose, options=self.options)

    def subtransformers(self) -> dict[str, Any]:
        """None: the index is not a stage of the pipeline."""
        return {}

    def _search(self, queries: pd.DataFrame) -> list[Hits]:
        name = f"the index at {self.index.path}"
        require_same_model(queries, self.index.config, name)
        qids = [str(qid) for qid in queries["qid"].tolist()]
        if len(set(qids)) < len(qids):
            twice = next(qid for qid in qids if qids.count(qid) > 1)
            raise InputError(f"the qid {twice!r} occurs twice; qids must be unique")
        impacts = to_impacts(queries["query_toks"].tolist(), self.index.width, lambda row: f"query {qids[row]!r}")
        searcher = self.index.searcher(**self.options)
        with pt.tqdm(total=len(qids), desc=repr(self.index), unit="q", disable=not self.verbose) as bar:
            run = search_queries(searcher, qids, impacts, self.num_results, on_progress=bar.update)
        return list(run.values())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SplareRetriever) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash((self.index, self.num_results))

    def __repr__(self) -> str:
        settings = {"num_results": self.num_results, **self.options}
        return f"{self.index!r}.retriever({', '.join(f'{name}={value!r}' for name, value in settings.items())})"

    def _key(self) -> tuple[Any, ...]:
        return (self.index, self.num_results, self.options)
