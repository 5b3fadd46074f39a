"""SPLARE for Pyserini: a fast Lucene writer, an exact searcher, and encoders for the stock searcher.

Importing this package starts neither Java nor torch; using one of its names imports what that one needs.
"""

from __future__ import annotations

from splare_plugins.machine.lazy import lazy_names

_HOMES = {
    "Java": "java",
    "LuceneEngine": "engine",
    "LuceneSearcher": "searcher",
    "LuceneWriter": "writer",
    "SplareDocumentEncoder": "encoders",
    "SplareQueryEncoder": "encoders",
    "ThreadError": "threads",
    "bm25_search": "bm25",
    "find_java": "java",
    "read_json_vectors": "vectors",
    "rm3": "feedback",
    "rocchio": "feedback",
    "start_jvm": "java",
    "write_json_vectors": "vectors",
    "write_query_file": "vectors",
}

__all__ = sorted(_HOMES)

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
