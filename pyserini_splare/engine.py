"""Lucene behind the contract of :mod:`splare_plugins.engines.base`."""

from __future__ import annotations

from typing import Any

from pyserini_splare.bm25 import bm25_search
from pyserini_splare.searcher import LuceneSearcher
from pyserini_splare.writer import LuceneWriter
from splare_plugins.config import SplareConfig


class LuceneEngine:
    """The engine ``lucene``: an index that Pyserini and Anserini read too."""

    name = "lucene"
    bm25 = staticmethod(bm25_search)

    def writer(
        self, location: str, config: SplareConfig | None, *, overwrite: bool = False, **options: Any
    ) -> LuceneWriter:
        """Open a :class:`LuceneWriter`, which documents the ``options``."""
        return LuceneWriter(location, config, overwrite=overwrite, **options)

    def searcher(self, location: str, **options: Any) -> LuceneSearcher:
        """Open a :class:`LuceneSearcher`, which documents the ``options``."""
        return LuceneSearcher(location, **options)
