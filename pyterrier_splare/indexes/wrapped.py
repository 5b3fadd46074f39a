"""An engine that has an index folder of its own, as a PyTerrier artifact: its files, and ``pt_meta.json``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from scipy.sparse import csr_array

from pyterrier_splare.indexes.folder import FolderSearcher, FolderWriter
from splare_plugins.config import SplareConfig
from splare_plugins.engines.base import Engine, Hits, IndexWriter, PairedEngine
from splare_plugins.engines.memory import MemoryEngine


class WrappedWriter(FolderWriter):
    """Hands everything to the writer of another engine.

    Args:
        location: folder of the index.
        config: the model whose impacts will be added.
        overwrite: replace the index that stands there.
        **options: those of the engine's writer.
    """

    inner: ClassVar[type[Engine]]

    def __init__(
        self, location: str | Path, config: SplareConfig | None = None, *, overwrite: bool = False, **options: Any
    ) -> None:
        super().__init__(location, config, overwrite=overwrite)
        self._made = self.folder / "made"
        self._inner: IndexWriter | None = None
        try:
            self._inner = self.inner().writer(str(self._made), config, **options)
            self.known_ids = None  # that writer remembers them, once it has taken them
        except BaseException:
            self.abort()
            raise

    def trust_ids(self) -> None:
        """See :meth:`IndexWriter.trust_ids`."""
        assert self._inner is not None
        self._inner.trust_ids()

    def _add(self, docids: Sequence[str], impacts: csr_array) -> None:
        assert self._inner is not None
        self._inner.add(docids, impacts)

    def _finish(self) -> dict[str, Any]:
        assert self._inner is not None
        self._inner.commit()
        for path in self._made.iterdir():
            path.rename(self.folder / path.name)
        self._made.rmdir()
        return {}

    def _abandon(self) -> None:
        if self._inner is not None:
            self._inner.abort()


class WrappedSearcher(FolderSearcher):
    """Asks the searcher of another engine.

    Args:
        location: folder of the index.
        **options: those of the engine's searcher.
    """

    inner: ClassVar[type[Engine]]

    def __init__(self, location: str | Path, **options: Any) -> None:
        super().__init__(location)
        self._inner = self.inner().searcher(str(location), **options)

    def vector(self, docid: str) -> dict[str, int] | None:
        """See :meth:`Searcher.vector`."""
        own = self._inner.vector(docid)
        return super().vector(docid) if own is None else dict(own)

    def close(self) -> None:
        """See :meth:`Searcher.close`."""
        super().close()
        self._inner.close()

    def _search(self, impacts: csr_array, k: int) -> Sequence[Hits]:
        return self._inner.search(impacts, k)


class MemoryFolderWriter(WrappedWriter):
    """Writes the file of the core's in-memory engine; there are no options."""

    kind = "splare_memory"
    inner = MemoryEngine


class MemoryFolderSearcher(WrappedSearcher):
    """Searches with the core's in-memory engine; its option is ``device``."""

    kind = MemoryFolderWriter.kind
    inner = MemoryEngine


class MemoryFolderEngine(PairedEngine):
    """The core's in-memory engine, exact with 64-bit integers; its folders are PyTerrier artifacts here."""

    name = "memory"
    writer_class = MemoryFolderWriter
    searcher_class = MemoryFolderSearcher
