"""In memory: exact with 64-bit integers, for small corpora and as the yardstick of the others."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from pyterrier_splare.indexes.artifact import SplareIndex
from pyterrier_splare.indexes.wrapped import WrappedSearcher, WrappedWriter
from splare_plugins.config import SplareConfig
from splare_plugins.engines.memory import MemoryEngine

_KIND = "splare_memory"


class MemoryFolderWriter(WrappedWriter):
    """Writes the file of the core's in-memory engine."""

    kind = _KIND


class MemoryFolderSearcher(WrappedSearcher):
    """Searches with the core's in-memory engine."""

    kind = _KIND


class MemoryFolderEngine:
    """The core's in-memory engine, whose folders are PyTerrier artifacts here."""

    name = "memory"

    def writer(
        self, location: str, config: SplareConfig | None, *, overwrite: bool = False, **options: Any
    ) -> MemoryFolderWriter:
        """See :meth:`Engine.writer`; there are no options."""
        return MemoryFolderWriter(MemoryEngine(), location, config, overwrite=overwrite, **options)

    def searcher(self, location: str, **options: Any) -> MemoryFolderSearcher:
        """See :meth:`Engine.searcher`; there are no options."""
        return MemoryFolderSearcher(MemoryEngine(), location, **options)


class MemorySplareIndex(SplareIndex):
    """An index held in memory; without a ``path`` it lives as long as this object.

    Args:
        path: folder to keep the index in.
        model: what makes the impacts.
    """

    ARTIFACT_FORMAT = _KIND
    engine = MemoryFolderEngine

    def __init__(self, path: str | Path | None = None, *, model: Any = None) -> None:
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        if path is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="splare-")
            path = Path(self._temporary.name) / "index"
        super().__init__(path, model=model)

    def __getstate__(self) -> dict[str, Any]:
        if self._temporary is not None:
            raise TypeError("an index without a path cannot be pickled; give it one: SplareIndex.memory(path)")
        return super().__getstate__()
