"""SPLARE for Pyserini: a fast Lucene writer, an exact searcher, and encoders for the stock searcher.

Importing this package starts neither Java nor torch; using one of its names imports what that one needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

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


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
