"""Seismic: approximate and very fast, with an exact mode; no Java."""

from __future__ import annotations

from typing import Any

import pandas as pd

from pyterrier_splare.indexes.artifact import SplareIndex
from pyterrier_splare.indexes.indexer import SplareIndexer
from pyterrier_splare.indexes.retriever import SplareRetriever
from pyterrier_splare.indexes.seismic_engine import EXHAUSTIVE, KIND, SeismicEngine
from splare_plugins.errors import InputError


class SeismicSplareIndex(SplareIndex):
    """A Seismic index of impacts; approximate unless it is asked to search exhaustively."""

    ARTIFACT_FORMAT = KIND
    engine = SeismicEngine

    def indexer(
        self,
        *,
        overwrite: bool = False,
        batch_size: int = 1000,
        verbose: bool = False,
        threads: int | None = None,
        **build: float | None,
    ) -> SplareIndexer:
        """A transformer that ends an indexing pipeline.

        Args:
            overwrite: replace the index that stands at the path.
            batch_size: documents handed over together.
            verbose: show a progress bar.
            threads: that build; ``None`` takes all.
            **build: values to use instead of those of ``seismic_engine.BUILD``; larger ``n_postings``,
                ``summary_energy`` and ``doc_cut`` find more and take longer to build.
        """
        options = {"threads": threads, **build}
        return self._indexer(overwrite=overwrite, batch_size=batch_size, verbose=verbose, options=options)

    def retriever(
        self,
        *,
        num_results: int = 1000,
        preset: str = "fast",
        query_cut: int | None = None,
        heap_factor: float | None = None,
        threads: int = 1,
        verbose: bool = False,
    ) -> SplareRetriever:
        """Queries with ``query_toks`` to results.

        Args:
            num_results: most documents per query.
            preset: ``"fast"``, ``"paper"`` (what SPLARE was measured with), or ``"exhaustive"``, which is exact.
            query_cut: latents of a query that are followed, the largest first; instead of the preset's.
            heap_factor: clusters that promise less than this share of the worst hit so far are skipped: 0 skips
                none; instead of the preset's.
            threads: queries answered at the same time.
            verbose: show a progress bar.
        """
        given = {"preset": preset, "query_cut": query_cut, "heap_factor": heap_factor, "threads": threads}
        options = {name: value for name, value in given.items() if value is not None}
        return self._retriever(num_results=num_results, verbose=verbose, options=options)

    def recall(self, queries: pd.DataFrame, *, k: int = 10, **options: Any) -> float:
        """Share of the truly best ``k`` documents that the index finds, averaged over queries.

        A hit counts if its score reaches that of the k-th best document, so that ties do not matter. Queries that
        find nothing exhaustively are left out.

        Args:
            queries: with ``qid`` and ``query_toks``.
            k: hits of a query that are compared.
            **options: those of :meth:`retriever`; ``preset="fast"`` if nothing is said.

        Raises:
            InputError: if no query finds anything.
        """
        truth = self.retriever(num_results=k, preset=EXHAUSTIVE)(queries).groupby("qid")["score"]
        if not len(truth):
            raise InputError("none of these queries finds a document, so there is no recall to measure")
        found = self.retriever(num_results=k, **options)(queries)
        reached = found["score"] >= found["qid"].map(truth.min())
        return float(
            (reached.groupby(found["qid"]).sum().reindex(truth.size().index, fill_value=0) / truth.size()).mean()
        )
