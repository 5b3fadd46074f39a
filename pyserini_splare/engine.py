"""Lucene behind the contract of :mod:`splare_plugins.engines.base`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pyserini_splare.bm25 import bm25_search
from pyserini_splare.searcher import LuceneSearcher
from pyserini_splare.writer import LuceneWriter
from splare_plugins.config import SplareConfig
from splare_plugins.engines.base import Hits


class LuceneEngine:
    """The engine ``lucene``: an index that Pyserini and Anserini read too."""

    name = "lucene"

    def writer(
        self, location: str, config: SplareConfig | None, *, overwrite: bool = False, **options: Any
    ) -> LuceneWriter:
        """Open a :class:`LuceneWriter`, which documents the ``options``."""
        return LuceneWriter(location, config, overwrite=overwrite, **options)

    def searcher(self, location: str, **options: Any) -> LuceneSearcher:
        """Open a :class:`LuceneSearcher`, which documents the ``options``."""
        return LuceneSearcher(location, **options)

    def bm25(
        self, documents: Iterable[tuple[str, str]], queries: Mapping[str, str], k: int, *, language: str = "en"
    ) -> dict[str, Hits]:
        """See :meth:`TextEngine.bm25`; the settings are Anserini's."""
        return bm25_search(documents, queries, k, language)
