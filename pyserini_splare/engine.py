"""Lucene behind the contract of :mod:`splare_plugins.engines.base`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pyserini_splare.bm25 import bm25_search
from pyserini_splare.searcher import LuceneSearcher
from pyserini_splare.writer import LuceneWriter
from splare_plugins.engines.base import Hits, PairedEngine


class LuceneEngine(PairedEngine):
    """The engine ``lucene``: an index that Pyserini and Anserini read too."""

    name = "lucene"
    writer_class = LuceneWriter
    searcher_class = LuceneSearcher

    def bm25(
        self, documents: Iterable[tuple[str, str]], queries: Mapping[str, str], k: int, *, language: str = "en"
    ) -> dict[str, Hits]:
        """See :meth:`TextEngine.bm25`; the settings are Anserini's."""
        return bm25_search(documents, queries, k, language)
