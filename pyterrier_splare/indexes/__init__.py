"""Indexes for PyTerrier, one file per back end: PISA, Terrier, Anserini, Seismic, and one in memory.

Importing this package starts neither Java nor a back end.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from splare_plugins.errors import MissingPartError

try:
    # Before anything of pyterrier_alpha, which cannot be imported first.
    import pyterrier  # noqa: F401
except ImportError as error:
    raise MissingPartError(
        "these indexes need PyTerrier, which is not installed: run pip install 'splare-plugins[pyterrier]'"
    ) from error

_HOMES = {
    "AnseriniSplareIndex": "anserini",
    "MemorySplareIndex": "memory",
    "PisaSplareIndex": "pisa",
    "SeismicSplareIndex": "seismic",
    "SplareIndex": "artifact",
    "SplareIndexer": "indexer",
    "SplareRetriever": "retriever",
    "TerrierSplareIndex": "terrier",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
