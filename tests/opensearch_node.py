"""A real OpenSearch node for the whole session, or the cluster that ``OPENSEARCH_URL`` names."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from opensearch_splare.node import Node
from opensearch_splare.node.process import QUICK_JVM

# The contract suite searches with 1,500 latents; an untouched cluster takes 1,024.
MAX_CLAUSES = 2048


@pytest.fixture(scope="session")
def opensearch_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a cluster with the plugins k-NN, neural-search, ml-commons and job-scheduler."""
    if url := os.environ.get("OPENSEARCH_URL"):
        yield url
        return
    settings = {"indices.query.bool.max_clause_count": str(MAX_CLAUSES)}
    folder = tmp_path_factory.mktemp("opensearch")
    with Node(folder, heap="768m", jvm_options=QUICK_JVM, settings=settings) as node:
        yield node.url
