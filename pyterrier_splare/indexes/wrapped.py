"""An engine that has an index folder of its own, as a PyTerrier artifact: its files, and ``pt_meta.json``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scipy.sparse import csr_array

from pyterrier_splare.indexes.folder import FolderSearcher, FolderWriter
from splare_plugins.config import SplareConfig
from splare_plugins.engines.base import Engine, Hits, IndexWriter


class WrappedWriter(FolderWriter):
    """Hands everything to the writer of another engine.

    Args:
        engine: whose writer it is.
        location: folder of the index.
        config: the model whose impacts will be added.
        overwrite: replace the index that stands there.
        **options: those of the engine's writer.
    """

    def __init__(
        self,
        engine: Engine,
        location: str | Path,
        config: SplareConfig | None = None,
        *,
        overwrite: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(location, config, overwrite=overwrite)
        self._made = self.folder / "made"
        self._inner: IndexWriter | None = None
        try:
            self._inner = engine.writer(str(self._made), config, **options)
        except BaseException:
            self.abort()
            raise

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
        engine: whose searcher it is.
        location: folder of the index.
    """

    def __init__(self, engine: Engine, location: str | Path) -> None:
        super().__init__(location)
        self._inner = engine.searcher(str(location))

    def close(self) -> None:
        """See :meth:`Searcher.close`."""
        self._inner.close()

    def _search(self, impacts: csr_array, k: int) -> Sequence[Hits]:
        return self._inner.search(impacts, k)
