"""Indexes for PyTerrier, one file per back end: PISA, Terrier, Anserini, Seismic, and one in memory.

Importing this package starts neither Java nor a back end.
"""

from __future__ import annotations

from splare_plugins.errors import MissingPartError
from splare_plugins.machine.lazy import lazy_names

try:
    # Before anything of pyterrier_alpha, which cannot be imported first.
    import pyterrier  # noqa: F401
except ImportError as error:
    raise MissingPartError(
        "these indexes need PyTerrier, which is not installed: run pip install 'splare-plugins[pyterrier]'"
    ) from error

_HOMES = {
    "AnseriniSplareIndex": "kinds",
    "MemorySplareIndex": "kinds",
    "PisaSplareIndex": "kinds",
    "SeismicSplareIndex": "kinds",
    "SplareIndex": "kinds",
    "SplareIndexer": "indexer",
    "SplareRetriever": "retriever",
    "TerrierSplareIndex": "kinds",
}

__all__ = sorted(_HOMES)

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
