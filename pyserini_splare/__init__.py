"""SPLARE for Pyserini: a fast Lucene writer, an exact searcher, and encoders for the stock searcher.

Importing this package starts neither Java nor torch; using one of its names imports what that one needs.
"""

from __future__ import annotations

import sys

from splare_plugins.machine.lazy import lazy_names
from splare_plugins.machine.moved import MovedModules

_HOMES = {
    "Java": "jvm",
    "LuceneEngine": "engine",
    "LuceneSearcher": "searcher",
    "LuceneWriter": "writer",
    "SplareDocumentEncoder": "encoders",
    "SplareQueryEncoder": "encoders",
    "ThreadError": "threads",
    "bm25_search": "bm25",
    "find_java": "jvm",
    "read_json_vectors": "vectors",
    "rm3": "expansion",
    "rocchio": "expansion",
    "start_jvm": "jvm",
    "write_json_vectors": "vectors",
    "write_query_file": "vectors",
}

__all__ = sorted(_HOMES)

__getattr__, __dir__ = lazy_names(__name__, _HOMES)

sys.meta_path.insert(0, MovedModules(__name__, {"feedback": "expansion", "java": "jvm"}))
