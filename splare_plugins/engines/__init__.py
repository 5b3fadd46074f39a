"""Search engines: the contract, the registry, and an exact in-memory engine.

May import config, impacts and the machine.
"""

from splare_plugins.engines.base import Engine, Hits, IndexWriter, Searcher, TextEngine
from splare_plugins.engines.registry import engine_names, get_engine, get_text_engine

__all__ = [
    "Engine",
    "Hits",
    "IndexWriter",
    "Searcher",
    "TextEngine",
    "engine_names",
    "get_engine",
    "get_text_engine",
]
