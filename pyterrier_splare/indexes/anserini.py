"""Lucene, through ``pyserini_splare``'s writer: Anserini, Pyserini and pyterrier_anserini search the folder too."""

from __future__ import annotations

from pyserini_splare.engine import LuceneEngine
from pyterrier_splare.indexes.wrapped import WrappedSearcher, WrappedWriter
from splare_plugins.engines.base import PairedEngine


class AnseriniWriter(WrappedWriter):
    """Writes a Lucene index; the options are those of :class:`pyserini_splare.LuceneWriter`."""

    kind = "splare_anserini"
    inner = LuceneEngine


class AnseriniSearcher(WrappedSearcher):
    """Searches with :class:`pyserini_splare.LuceneSearcher`, which is exact."""

    kind = AnseriniWriter.kind
    inner = LuceneEngine


class AnseriniEngine(PairedEngine):
    """The engine ``anserini``: the engine ``lucene``, whose folders are PyTerrier artifacts too."""

    name = "anserini"
    writer_class = AnseriniWriter
    searcher_class = AnseriniSearcher
