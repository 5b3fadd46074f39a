"""Lucene behind the contract of :mod:`splare_plugins.engines.base`."""

from __future__ import annotations

from pyserini_splare.bm25 import bm25_search
from pyserini_splare.searcher import LuceneSearcher
from pyserini_splare.writer import LuceneWriter
from splare_plugins.engines.base import PairedEngine


class LuceneEngine(PairedEngine):
    """The engine ``lucene``: an index that Pyserini and Anserini read too."""

    name = "lucene"
    writer_class = LuceneWriter
    searcher_class = LuceneSearcher
    bm25 = staticmethod(bm25_search)
