"""SPLARE on OpenSearch: mapping, client-side indexing and search, a local node.

Importing this package starts nothing and imports neither torch nor a client; using one of its names imports what
that one needs.
"""

from __future__ import annotations

from splare_plugins.machine.lazy import lazy_names

_HOMES = {
    "BulkSender": "bulk",
    "Deployment": "plan",
    "EncodedShare": "shares",
    "FeatureMap": "features",
    "IndexReport": "filling",
    "Node": "node.process",
    "OpenSearchEngine": "engine",
    "OpenSearchSearcher": "engine",
    "OpenSearchWriter": "writer",
    "ShareReport": "sharing",
    "SplareIndex": "index",
    "TextShare": "shares",
    "ask_encoder": "encoder_service",
    "connect": "connection",
    "deploy": "deployment",
    "hybrid": "queries",
    "hybrid_pipeline": "queries",
    "index_body": "mapping",
    "load_share": "sharing",
    "neural_sparse": "queries",
    "query_tokens": "queries",
    "rank_feature": "queries",
    "sparse_vector": "queries",
    "start_cluster": "node.process",
    "two_phase_pipeline": "queries",
    "undeploy": "deployment",
    "verify": "verifying",
}

__all__ = sorted(_HOMES)

__getattr__, __dir__ = lazy_names(
    __name__, _HOMES, needs=("opensearchpy",), project="opensearch-py", extra="opensearch"
)
