"""Corpora: readers of documents and queries, encoded Parquet parts, TREC runs and judgements.

May import the engines' contract, config, impacts and the machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from splare_plugins.corpus.documents import Document, Query, ReadCounts
from splare_plugins.corpus.encoded import EncodedBatch, EncodedCounts
from splare_plugins.corpus.fields import Fields
from splare_plugins.corpus.qrels import read_qrels
from splare_plugins.corpus.readers import read_documents, read_queries
from splare_plugins.corpus.sources import source_identity
from splare_plugins.corpus.trec import read_run, write_run
from splare_plugins.machine.lazy import lazy_names

if TYPE_CHECKING:
    from splare_plugins.corpus.manifest import Encoding, ShardRecord
    from splare_plugins.corpus.shards import EncodedFolder, write_shard

__all__ = [
    "Document",
    "EncodedBatch",
    "EncodedCounts",
    "EncodedFolder",
    "Encoding",
    "Fields",
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

# pyarrow is slow to import and only encoded corpora need it.
__getattr__, __dir__ = lazy_names(
    __name__,
    {"EncodedFolder": "shards", "Encoding": "manifest", "ShardRecord": "manifest", "write_shard": "shards"},
)
