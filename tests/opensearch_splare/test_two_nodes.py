"""Two real nodes of one cluster, one index of two shards over both, three loaders at once, one of them killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from opensearchpy import OpenSearch
from scipy.sparse import csr_array

from opensearch_splare import Node, SplareIndex, start_cluster
from opensearch_splare.generations import read_indexes
from opensearch_splare.node.process import QUICK_JVM
from splare_plugins.corpus import Document, Encoding, ReadCounts, write_shard
from splare_plugins.corpus.parts import made_part

from .conftest import names, random_impacts
from .test_index import encoded

pytestmark = [pytest.mark.java, pytest.mark.slow]

COUNT, PART = 9000, 150
PARTS = COUNT // PART


def encode(folder: Path, config, impacts: csr_array) -> None:
    """What ``splare encode`` would leave, of vectors that are known."""

    def make(tasks):
        for task in tasks:
            batch = encoded(impacts[task.number * PART : (task.number + 1) * PART])
            batch.docids[:] = [document.docid for document in task.documents]
            yield made_part(task, [batch], config)

    documents = (Document(docid, "") for docid in names(COUNT))
    write_shard(
        folder, Encoding(config=config, top_k=400, part_size=PART), 1, documents, make, counts=ReadCounts(COUNT)
    )


def loader(nodes: list[Node], folder: Path, shard: int) -> subprocess.Popen[str]:
    """``splare index opensearch --shard`` as a process."""
    command = [sys.executable, "-m", "splare_plugins", "index", "opensearch", folder, "--index", "docs"]
    options = ["--shard", f"{shard}/3", "--shards", "2", "--replicas", "0", "--json"]
    url = ",".join(node.url for node in nodes)
    return subprocess.Popen(
        [*map(str, command), "--url", url, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def facts(process: subprocess.Popen[str]) -> dict:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return json.loads(out)


def noted(client: OpenSearch) -> list[int]:
    """Parts that are in the unfinished index."""
    (log,) = [each for each in read_indexes(client, "docs-*") if each.endswith("-parts")] or [None]
    if log is None:
        return []
    found = client.mget(index=log, body={"ids": [str(part) for part in range(PARTS)]})["docs"]
    return [int(each["_id"]) for each in found if each.get("found")]


def test_three_loaders_of_one_index_on_two_nodes(tmp_path, config):
    impacts, queries = random_impacts(COUNT, 60), random_impacts(10, 30, seed=2)
    encode(tmp_path / "encoded", config, impacts)
    nodes = start_cluster(tmp_path / "nodes", 2, heap="512m", jvm_options=QUICK_JVM)
    try:
        client = OpenSearch([node.url for node in nodes], timeout=60, max_retries=5, retry_on_timeout=True)
        loaders = [loader(nodes, tmp_path / "encoded", shard) for shard in (1, 2, 3)]
        while not any(part % 3 == 0 for part in noted(client)):
            assert loaders[0].poll() is None
            time.sleep(0.01)
        loaders[0].send_signal(signal.SIGKILL)
        loaders[0].communicate()
        others = [facts(each) for each in loaders[1:]]
        done = noted(client)
        killed = [part for part in done if part % 3 == 0]
        assert 0 < len(killed) < PARTS // 3, "it was killed in the middle of its share"
        assert set(range(PARTS)) - set(done) == set(range(0, PARTS, 3)) - set(killed)
        assert not client.indices.exists(index="docs")
        assert [each["complete"] for each in others] == [False, False]
        assert "1/3" in others[-1]["waits_for"]

        # Two at once take what is left, and both end well.
        last = [facts(each) for each in [loader(nodes, tmp_path / "encoded", 1) for _ in range(2)]]
        assert [each["complete"] for each in last] == [True, True]
        (late,) = [facts(loader(nodes, tmp_path / "encoded", 2))]
        assert late["complete"]
        assert [each for each in read_indexes(client, "docs*") if each != "docs-000001"] == []
        places = client.cat.shards(index="docs", params={"format": "json"})
        assert {each["node"] for each in places} == {f"node-{node.port}" for node in nodes}
        index = SplareIndex(client, "docs", config)
        assert index.count() == COUNT
        assert everything(client) == dict.fromkeys(names(COUNT), 1)
        scores = queries.toarray().astype(np.int64) @ impacts.toarray().astype(np.int64).T
        assert_exact(index, queries, scores)

        client.indices.put_settings(index="docs", body={"index.number_of_replicas": 1})
        client.cluster.health(index="docs", params={"wait_for_status": "green"})
        # Of two nodes only the one that does not lead can go: the other could not win an election alone.
        (leader,) = client.cat.cluster_manager(params={"format": "json"})
        (follower,) = [node for node in nodes if leader["node"] != f"node-{node.port}"]
        follower.stop()
        assert_exact(index, queries, scores)
    finally:
        for node in nodes:
            node.stop()


def everything(client: OpenSearch) -> Counter[str]:
    """How often each document is in the index, asked of both shards."""
    found: Counter[str] = Counter()
    shards = []
    for shard in (0, 1):
        body = {"size": 10_000, "_source": False, "query": {"match_all": {}}}
        hits = client.search(index="docs", body=body, params={"preference": f"_shards:{shard}"})["hits"]["hits"]
        found.update(hit["_id"] for hit in hits)
        shards.append(len(hits))
    assert min(shards) > COUNT * 0.4, shards
    return found


def assert_exact(index: SplareIndex, queries: csr_array, scores: np.ndarray) -> None:
    for hits, row in zip(index.search_impacts(queries, 100), scores, strict=True):
        assert hits.scores.tolist() == sorted(row[row > 0].tolist(), reverse=True)[:100]
        assert [row[int(docid[1:])] for docid in hits.docids] == hits.scores.tolist()
