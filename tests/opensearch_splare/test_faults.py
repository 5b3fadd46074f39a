"""Nodes that are killed, busy or gone: the final count is exact."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from opensearchpy import OpenSearch

from opensearch_splare import BulkSender, Node, SplareIndex, connect, start_cluster
from opensearch_splare.node.process import QUICK_JVM
from opensearch_splare.payload import to_sources
from splare_plugins.errors import InputError

from .conftest import impacts_of, names, random_impacts
from .test_index import encoded

pytestmark = [pytest.mark.java, pytest.mark.slow]

# One bulk request at work and one that waits; others are turned away with 429.
NARROW = {"thread_pool.write.size": "1", "thread_pool.write.queue_size": "1"}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("fragile")
    with Node(folder, heap="512m", jvm_options=QUICK_JVM, settings=NARROW) as started:
        yield started


@pytest.fixture
def fragile(node: Node) -> Iterator[OpenSearch]:
    with connect(node.url) as client:
        yield client


def test_busy_nodes_get_what_they_turned_away(fragile, config):
    index = SplareIndex(fragile, "busy", config)
    index.create()
    impacts = random_impacts(1600, 100)
    documents = list(zip(names(1600), to_sources(names(1600), impacts, "splare"), strict=True))
    senders = [BulkSender(fragile, "busy", chunk_documents=20) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        failures = list(
            pool.map(lambda number: senders[number].send(documents[200 * number : 200 * number + 200]), range(8))
        )
    assert failures == [[]] * 8
    assert sum(sender.counts.repeated for sender in senders) > 0
    assert sum(sender.counts.written for sender in senders) == 1600
    fragile.indices.refresh(index="busy")
    assert index.count() == 1600


def test_a_node_that_stays_busy_is_given_up(serve, config):
    def turn_away(method, path, body):
        return (429, {"error": {"type": "rejected", "reason": "too busy"}}) if path.endswith("_bulk") else None

    with serve(turn_away) as url, pytest.raises(InputError, match=r"too busy.*nothing could be written.*run again"):
        BulkSender(connect(url, max_retries=0), "docs", patience=1).send([("a", "{}")])


def test_a_node_killed_while_it_indexes(node, fragile, config, monkeypatch):
    monkeypatch.setattr("opensearch_splare.bulk._LONGEST_PAUSE", 1.0)
    impacts = random_impacts(3000, 60)
    documents = list(zip(names(3000), to_sources(names(3000), impacts, "splare"), strict=True))
    indexes = {operation: SplareIndex(fragile, f"killed-{operation}", config) for operation in ("index", "create")}
    senders = {
        operation: BulkSender(fragile, index.name, operation=operation, chunk_documents=100)
        for operation, index in indexes.items()
    }
    for index in indexes.values():
        index.create()
    with ThreadPoolExecutor(2) as pool:
        working = [pool.submit(sender.send, documents) for sender in senders.values()]
        while any(sender.counts.written < 300 for sender in senders.values()):
            time.sleep(0.01)
        assert not any(future.done() for future in working)
        node.kill()
        node.start()
        assert [future.result(timeout=120) for future in working] == [[], []]
    queries = random_impacts(5, 30, seed=2)
    scores = queries.toarray().astype(np.int64) @ impacts.toarray().astype(np.int64).T
    for operation, index in indexes.items():
        counts = senders[operation].counts
        assert counts.repeated > 0
        assert counts.written + counts.found == 3000
        fragile.indices.refresh(index=index.name)
        assert index.count() == 3000
        for hits, row in zip(index.search_impacts(queries, 3000), scores, strict=True):
            assert hits.scores.tolist() == sorted(row[row > 0].tolist(), reverse=True)


def test_two_nodes_with_two_shards_and_a_replica(tmp_path, config):
    nodes = start_cluster(tmp_path, 2, heap="512m", jvm_options=QUICK_JVM)
    try:
        client = OpenSearch([node.url for node in nodes], timeout=60, max_retries=5, retry_on_timeout=True)
        index = SplareIndex(client, "docs", config)
        index.create(shards=2, replicas=1)
        impacts, queries = random_impacts(400, 60), random_impacts(30, 30, seed=3)
        index.index_encoded([encoded(impacts)])
        health = client.cluster.health(index="docs", params={"wait_for_status": "green"})
        assert (health["number_of_nodes"], health["active_shards"]) == (2, 4)
        scores = queries.toarray().astype(np.int64) @ impacts.toarray().astype(np.int64).T
        whole = index.search_impacts(queries, 20)
        for hits, row in zip(whole, scores, strict=True):
            assert hits.scores.tolist() == sorted(row[row > 0].tolist(), reverse=True)[:20]
        again = index.search_impacts(queries, 20)
        assert [hits.docids for hits in again] == [hits.docids for hits in whole]
        # Of two nodes only the one that does not lead can go: the other could not win an election alone.
        (leader,) = client.cat.cluster_manager(params={"format": "json"})
        (follower,) = [node for node in nodes if leader["node"] != f"node-{node.port}"]
        follower.stop()
        for hits, others in zip(index.search_impacts(queries, 20), whole, strict=True):
            assert hits.scores.tolist() == others.scores.tolist()
        index.index_encoded([encoded(impacts_of({1: 1}), "new")])
        assert index.count() == 401
    finally:
        for node in nodes:
            node.stop()
