"""Corpora: readers of documents and queries, encoded Parquet shards, TREC runs and judgements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from splare_plugins.corpus.documents import Document, Query, ReadCounts
from splare_plugins.corpus.encoded import EncodedBatch, EncodedCounts
from splare_plugins.corpus.readers import read_documents, read_queries
from splare_plugins.corpus.sources import source_identity
from splare_plugins.corpus.trec import read_qrels, read_run, write_run

if TYPE_CHECKING:
    from splare_plugins.corpus.manifest import Encoding, ShardRecord
    from splare_plugins.corpus.shards import EncodedFolder, write_shard

__all__ = [
    "Document",
    "EncodedBatch",
    "EncodedCounts",
    "EncodedFolder",
    "Encoding",
    "Query",
    "ReadCounts",
    "ShardRecord",
    "read_documents",
    "read_qrels",
    "read_queries",
    "read_run",
    "source_identity",
    "write_run",
    "write_shard",
]


def __getattr__(name: str) -> Any:
    # pyarrow is slow to import and only shards need it.
    if name in ("EncodedFolder", "write_shard"):
        from splare_plugins.corpus import shards

        return getattr(shards, name)
    if name in ("Encoding", "ShardRecord"):
        from splare_plugins.corpus import manifest

        return getattr(manifest, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
