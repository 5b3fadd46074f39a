"""Lucene, through ``pyserini_splare``'s writer: Anserini, Pyserini and pyterrier_anserini search the folder too."""

from __future__ import annotations

from typing import Any

from pyserini_splare.engine import LuceneEngine
from pyterrier_splare.indexes.artifact import SplareIndex
from pyterrier_splare.indexes.wrapped import WrappedSearcher, WrappedWriter
from splare_plugins.config import SplareConfig

_KIND = "splare_anserini"


class AnseriniWriter(WrappedWriter):
    """Writes a Lucene index; the options are those of :class:`pyserini_splare.LuceneWriter`."""

    kind = _KIND


class AnseriniSearcher(WrappedSearcher):
    """Searches with :class:`pyserini_splare.LuceneSearcher`, which is exact."""

    kind = _KIND


class AnseriniEngine:
    """The engine ``anserini``: the engine ``lucene``, whose folders are PyTerrier artifacts too."""

    name = "anserini"

    def writer(
        self, location: str, config: SplareConfig | None, *, overwrite: bool = False, **options: Any
    ) -> AnseriniWriter:
        """Open an :class:`AnseriniWriter`."""
        return AnseriniWriter(LuceneEngine(), location, config, overwrite=overwrite, **options)

    def searcher(self, location: str, **options: Any) -> AnseriniSearcher:
        """Open an :class:`AnseriniSearcher`; there are no options."""
        return AnseriniSearcher(LuceneEngine(), location, **options)


class AnseriniSplareIndex(SplareIndex):
    """A Lucene index of impacts; starts Java.

    ``retriever()`` searches with our own Lucene searcher; ``native()`` is the same folder for pyterrier_anserini.
    """

    ARTIFACT_FORMAT = _KIND
    engine = AnseriniEngine

    def native(self) -> Any:
        """The same folder as a ``pyterrier_anserini.AnseriniIndex``; ask it for ``.impact()``.

        Its scores are changed a little where documents tie, and it raises for an empty query. The first one imports
        all of pyserini, which takes half a minute.

        Raises:
            MissingPartError: if pyterrier-anserini is not installed.
            SplareError: if Java runs already without Terrier's jars.
        """
        from pyterrier_splare.terrier_java import start_terrier

        path = self.require_built()
        start_terrier()
        from pyterrier_anserini import AnseriniIndex

        return AnseriniIndex(str(path))
