"""SPLARE on OpenSearch: mapping, client-side indexing and search, a local node.

Importing this package starts nothing and imports neither torch nor a client; using one of its names imports what
that one needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "BulkSender": "bulk",
    "Deployment": "bodies",
    "FeatureMap": "features",
    "IndexReport": "loading",
    "Node": "node.process",
    "OpenSearchEngine": "engine",
    "OpenSearchSearcher": "engine",
    "OpenSearchWriter": "writer",
    "SplareIndex": "index",
    "ask_encoder": "encoder",
    "connect": "connection",
    "deploy": "deployment",
    "hybrid": "queries",
    "hybrid_pipeline": "queries",
    "index_body": "mapping",
    "neural_sparse": "queries",
    "query_tokens": "queries",
    "rank_feature": "queries",
    "sparse_vector": "queries",
    "start_cluster": "node.process",
    "two_phase_pipeline": "queries",
    "undeploy": "deployment",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
