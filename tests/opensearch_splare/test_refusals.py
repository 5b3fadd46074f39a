"""Servers that refuse, are too old, or are not there: one sentence that names the way out."""

from __future__ import annotations

import json

import pytest
from opensearchpy import ConflictError, OpenSearch

from opensearch_splare import BulkSender, SplareIndex, connect
from opensearch_splare.connection import FEATURES, require, server_version
from opensearch_splare.mapping import IndexCard, index_body
from opensearch_splare.remote_models import remove_models
from opensearch_splare.writer import OpenSearchWriter
from splare_plugins.engines import get_engine
from splare_plugins.errors import InputError
from tests.opensearch_node import MAX_CLAUSES

from .conftest import about, impacts_of, random_impacts

QUERY = impacts_of({1: 4})


def refusing(status, kind, reason="no permission"):
    return lambda method, path, body: (status, {"error": {"type": kind, "reason": reason}, "status": status})


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (refusing(401, "security_exception"), "asks for a user and a password"),
        (refusing(403, "security_exception"), r"may not do this \(no permission\)"),
        (refusing(403, "cluster_block_exception", "index read-only"), r"index read-only; remove the block"),
        (refusing(500, "oops", "a bug"), "status 500: a bug"),
    ],
)
def test_refusals(serve, config, answer, words):
    with serve(answer) as url:
        calls = (
            lambda: get_engine("opensearch").searcher(f"{url}/docs"),
            lambda: OpenSearchWriter(f"{url}/docs", config),
            lambda: SplareIndex(connect(url), "docs", config).count(),
            lambda: BulkSender(connect(url), "docs").send([("a", "{}")]),
        )
        for call in calls:
            with pytest.raises(InputError, match=words):
                call()


def test_nobody_listens(config):
    url = "http://user:secret@127.0.0.1:9"
    for call in (
        lambda: get_engine("opensearch").searcher(f"{url}/docs"),
        lambda: OpenSearchWriter(f"{url}/docs", config),
        lambda: BulkSender(connect(url), "docs", patience=0).send([("a", "{}")]),
    ):
        with pytest.raises(InputError, match=r"127\.0\.0\.1:9 cannot be reached.*splare opensearch start") as caught:
            call()
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["127.0.0.1:9200", "ftp://host", "http://", "http://host:port"])
def test_what_is_no_address(url):
    with pytest.raises(InputError, match="not an address of a cluster"):
        connect(url)


def test_another_product(serve):
    with (
        serve(lambda *_: about("8.15.0", None)) as url,
        pytest.raises(InputError, match=r"is not OpenSearch.*8\.15\.0"),
    ):
        server_version(connect(url))


def old_server(version, config):
    """A server of another version with one index, as far as it is asked here."""
    mapping = index_body(IndexCard(config=config))["mappings"]

    def answer(method, path, body):
        if path == "/":
            return about(version)
        if path.startswith("/docs/_mapping"):
            return 200, {"docs": {"mappings": mapping}}
        return 200, {}

    return answer


@pytest.mark.parametrize(
    ("version", "call", "needed"),
    [
        ("2.9.0", lambda index: index.search_impacts(QUERY), "2.14"),
        ("2.14.0", lambda index: index.search_impacts(QUERY, two_phase=True), "2.15"),
        ("2.9.0", lambda index: index.search_hybrid([]), "2.10"),
        ("3.2.1", lambda index: index.create(field_type="sparse_vector", sample=QUERY), "3.3"),
    ],
)
def test_versions_without_a_feature(serve, config, version, call, needed):
    with serve(old_server(version, config)) as url, pytest.raises(InputError, match=f"they come with {needed}"):
        call(SplareIndex(connect(url), "docs", config))


def test_every_feature_has_its_version():
    for feature, version in FEATURES.items():
        require(feature, version)
        with pytest.raises(InputError, match=f"{version[0]}.{version[1]}"):
            require(feature, (version[0], version[1] - 1))


def test_a_newer_server_gets_a_sparse_vector_index(serve, config):
    sent = {}

    def answer(method, path, body):
        sent[method] = body
        return about("3.3.0") if path == "/" else ((404, {}) if method == "HEAD" else (200, {}))

    with serve(answer) as url:
        index = SplareIndex(connect(url), "docs", config)
        index.create(field_type="sparse_vector", sample=random_impacts(10, 5), query_sample=impacts_of({1: 100}))
    for part in (b'"type":"sparse_vector"', b'"sparse":true', b'"quantization_ceiling_search":25.0', b'"features":"'):
        assert part in sent["PUT"]


@pytest.mark.java
@pytest.mark.usefixtures("whole_cluster")
def test_too_many_clauses_for_the_cluster(client, name, config):
    index = SplareIndex(client, name, config)
    index.create()
    index.search_impacts(impacts_of(dict.fromkeys(range(MAX_CLAUSES), 1)))
    client.cluster.put_settings(body={"persistent": {"indices.query.bool.max_clause_count": 1024}})
    try:
        with pytest.raises(InputError, match=r"1100 tokens and the cluster takes 1024"):
            SplareIndex(client, name, config).search_impacts(impacts_of(dict.fromkeys(range(1100), 1)))
        # A limit that was lowered after it was asked for: the server's own refusal.
        with pytest.raises(InputError, match=r"more tokens than.*--top-k"):
            index.search_impacts(impacts_of(dict.fromkeys(range(1100), 1)))
    finally:
        client.cluster.put_settings(body={"persistent": {"indices.query.bool.max_clause_count": None}})


@pytest.mark.java
def test_queries_beyond_the_largest_weight(client, name, config):
    index = SplareIndex(client, name, config)
    index.create()
    with pytest.raises(InputError, match="at most 256"):
        index.search_impacts(impacts_of({1: 257}))
    with pytest.raises(InputError, match="at least 1"):
        index.search_impacts(QUERY, 0)


def test_a_cluster_without_the_plugin(serve, config):
    answer = old_server("2.19.1", config)

    def without(method, path, body):
        if "_msearch" in path:
            reason = "unknown query [neural_sparse]"
            return 400, {"error": {"type": "parsing_exception", "reason": reason}, "status": 400}
        return answer(method, path, body)

    with serve(without) as url, pytest.raises(InputError, match=r"lacks the neural-search plugin.*rank_feature"):
        SplareIndex(connect(url), "docs", config).search_impacts(QUERY)


@pytest.mark.parametrize(
    ("response", "words"),
    [
        ({"timed_out": True, "hits": {}}, "timed out"),
        ({"error": {"root_cause": [{"reason": "shard gone"}], "reason": "all shards failed"}, "status": 503}, "gone"),
    ],
)
def test_half_an_answer_is_none(serve, config, response, words):
    answer = old_server("2.19.1", config)

    def half(method, path, body):
        return (200, {"responses": [response]}) if "_msearch" in path else answer(method, path, body)

    with serve(half) as url, pytest.raises(InputError, match=words):
        SplareIndex(connect(url), "docs", config).search_impacts(QUERY)


@pytest.mark.parametrize("used", [False, True], ids=["by models of others", "by its own"])
def test_a_connector_that_the_cluster_keeps(serve, caplog, used):
    """Ids that share a part between hyphens are all the same to the cluster's own check."""

    def answer(method, path, body):
        if method == "DELETE":
            return (409, {"error": {"type": "status_exception"}}) if "/connectors/" in path else (200, {})
        if path == "/_plugins/_ml/connectors/_search":
            return 200, {"hits": {"hits": [{"_id": "a-I6-b", "_source": {}}]}}
        if path == "/_plugins/_ml/models/_search":
            asked = json.loads(body)["query"]["term"]
            hits = [{"_id": "m", "_source": {}}] if used and asked == {"connector_id.keyword": "a-I6-b"} else []
            return 200, {"hits": {"hits": hits}}
        return 200, {"hits": {"hits": []}}

    with serve(answer) as url:
        client = OpenSearch(url)
        if used:
            with pytest.raises(ConflictError):
                remove_models(client, "docs", "document")
            return
        assert remove_models(client, "docs", "document") == []
    assert "keeps it; undeploy the index again" in caplog.text
