"""OpenSearch 3 without a plugin: the same scores, swaps and commands as on OpenSearch 2."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from opensearch_splare import Deployment, Node, SplareIndex, deploy, verify
from opensearch_splare.connection import server_version
from opensearch_splare.node.process import QUICK_JVM
from opensearch_splare.writer import OpenSearchWriter
from splare_plugins.errors import InputError
from tests.cli.conftest import splare

from .conftest import impacts_of, names, random_impacts
from .test_index import QUERIES, TEXTS, assert_exact, documents, encoded, products
from .test_sharing import Loader, assert_whole

__all__ = ["splare"]

pytestmark = [pytest.mark.java, pytest.mark.slow]


@pytest.fixture(scope="module")
def opensearch_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The fixtures ``client`` and ``name`` are of this node here."""
    with Node(tmp_path_factory.mktemp("three"), version="3", heap="512m", jvm_options=QUICK_JVM) as node:
        yield node.url


@pytest.fixture
def index(client, name, tiny):
    made = SplareIndex(client, name, tiny, form="rank_feature")
    made.create(shards=2, replicas=0, fields={"year": {"type": "integer"}})
    made.index({"_id": each.docid, "text": each.text, "title": each.title, "year": 3} for each in documents())
    return made


def test_the_version(client):
    assert server_version(client) >= (3, 5)


def test_texts_filters_hits_and_explanations(index, tiny):
    assert_exact(index.search(QUERIES, 100), products(tiny))
    assert index.search(["fox"], filter={"term": {"year": 4}})[0].docids == []
    (found,) = index.search_hits(["quick fox"], 3, highlight=["text"], after=[])
    assert found[0]["_source"]["year"] == 3
    told = index.explain("quick fox", "d0")
    assert told.score == {hit["_id"]: hit["_score"] for hit in found}["d0"]
    assert verify(index, tiny, sample=None).bad == []


def test_impacts_in_shards_are_exact(client, name, config):
    impacts, queries = random_impacts(300, 60), random_impacts(20, 30, seed=5)
    index = SplareIndex(client, name, config, form="rank_feature")
    index.create(shards=3, replicas=0)
    index.index_encoded([encoded(impacts)])
    scores = queries.toarray().astype(np.int64) @ impacts.toarray().astype(np.int64).T
    for hits, row in zip(index.search_impacts(queries, 300), scores, strict=True):
        assert hits.scores.tolist() == sorted(row[row > 0].tolist(), reverse=True)


def test_two_loaders_of_one_index(client, name, config, opensearch_url):
    loader = Loader(f"{opensearch_url}/{name}", config, shards=2)
    assert [loader.load(shard, 2).published for shard in (1, 2)] == [False, True]
    assert_whole(client, name, config, form="rank_feature")


def test_a_swap_and_a_deletion(client, name, config, opensearch_url):
    location = f"{opensearch_url}/{name}"
    for count in (2, 3):
        with OpenSearchWriter(location, config, overwrite=True) as writer:
            writer.add(names(count), random_impacts(count, 5))
        if count == 2:
            client.indices.put_alias(index=f"{name}-000001", name=f"{name}-too", body={"filter": {"match_all": {}}})
    assert SplareIndex(client, f"{name}-too", config).count() == 3
    assert client.count(index=f"{name}-000001")["count"] == 2
    lost = OpenSearchWriter(location, config, overwrite=True)
    client.indices.delete(index=lost.building)
    with pytest.raises(InputError, match="deleted, replaced or published"):
        lost.add(["d"], impacts_of({1: 1}))
    lost.abort()
    assert sorted(client.indices.get(index=f"{name}-0*")) == [f"{name}-000001", f"{name}-000002"]


def test_the_commands(index, opensearch_url, splare, tmp_path, tiny_folder):
    queries, run, place = tmp_path / "queries.tsv", tmp_path / "out.run", f"{opensearch_url}/{index.name}"
    queries.write_text("1\tfox\n")
    assert splare("inspect", place, "--json").facts["documents"] == len(TEXTS)
    command = ["search", place, queries, "-o", run, "--model", tiny_folder]
    assert splare(*command, "--form", "rank_feature").status == 0
    (hits,) = index.search(["fox"], 1000)
    assert [line.split()[2] for line in run.read_text().splitlines()] == hits.docids
    refused = splare(*command)
    assert refused.status != 0
    assert "lacks the neural-search plugin" in refused.err
    assert "--form rank_feature" in refused.err


def test_what_needs_a_plugin_says_so(client, name, config, index):
    calls = (
        lambda: index.search_hybrid(["fox"]),
        lambda: SplareIndex(client, f"{name}-v", config).create(field_type="sparse_vector", sample=impacts_of({1: 1})),
        lambda: deploy(client, Deployment(index=f"{name}-d", encoder_url="http://127.0.0.1:9", config=config)),
    )
    for call in calls:
        with pytest.raises(InputError, match=r"plugin"):
            call()
