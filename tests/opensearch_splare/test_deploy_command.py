"""``splare opensearch deploy`` and ``undeploy``: what they print, and mistakes as one sentence."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from opensearch_splare import Deployment, connect, remote_models
from opensearch_splare.bodies import all_requests
from opensearch_splare.encoder_service import ask_encoder
from opensearch_splare.mapping import IndexCard, index_body
from splare_plugins.errors import InputError
from tests.cli.conftest import splare
from tests.serving.conftest import running
from tests.tiny import tiny_model

from .conftest import about
from .deploying import QUERIES, bulk, clean, encoder, remains, scores

__all__ = ["splare"]


@pytest.fixture(scope="module")
def service(tiny):
    with encoder(tiny) as running:
        yield running


@pytest.fixture(scope="module")
def guarded(tiny):
    with encoder(tiny, token="secret-token") as running:
        yield running


@pytest.fixture
def place(client, name):
    yield name
    clean(client, name)


@pytest.fixture
def token_file(tmp_path) -> Path:
    (tmp_path / "token").write_text("secret-token\n")
    return tmp_path / "token"


@pytest.mark.java
def test_deploy_index_search_undeploy(splare, opensearch_url, client, place, guarded, token_file):
    common = ["--index", place, "--url", opensearch_url]
    command = ["opensearch", "deploy", *common, "--encoder-url", guarded.url + "/", "--token-file", token_file]
    outcome = splare(*command, "--replicas", 0, "--json")
    assert outcome.status == 0, outcome.err
    assert outcome.facts["changes"][-1] == "index"
    assert splare(*command, "--json").facts == {**outcome.facts, "changes": []}
    assert "secret-token" not in outcome.out + outcome.err
    bulk(client, place, {"a": {"text": "bees"}})
    assert scores(client, place, {"query_text": QUERIES[0]}).keys() == {"a"}
    assert splare("opensearch", "undeploy", *common, "--json").facts["removed"]
    assert remains(client, place) == []
    assert client.count(index=place)["count"] == 1
    again = splare("opensearch", "undeploy", *common, "--with-index")
    assert "index" in again.out
    assert not client.indices.exists(index=place)


def test_a_dry_run_shows_all_and_sends_nothing(splare, guarded, token_file, tiny):
    command = ["opensearch", "deploy", "-i", "docs", "--url", "http://127.0.0.1:9", "--encoder-url", guarded.url]
    command += ["--token-file", token_file, "--dry-run"]
    requests = splare(*command, "--json").facts
    plan = Deployment(index="docs", encoder_url=guarded.url, config=tiny.config, token="another")
    assert requests == [request._asdict() for request in all_requests(plan)]
    assert [(request["method"], request["path"].rsplit("/", 1)[-1]) for request in requests] == [
        ("POST", "_create"),
        ("POST", "_register"),
        ("POST", "_deploy"),
        ("POST", "_create"),
        ("POST", "_register"),
        ("POST", "_deploy"),
        ("PUT", "splare-docs"),
        ("PUT", "splare-docs"),
        ("PUT", "docs"),
    ]
    shown = splare(*command)
    assert "PUT /_ingest/pipeline/splare-docs\n{" in shown.out
    assert "secret-token" not in shown.out
    assert "{{" not in shown.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--encoder-url", "http://127.0.0.1:9"], "127.0.0.1:9 cannot be reached (Connection refused)"),
        (["--encoder-url", "http://nowhere.invalid"], "cannot be reached"),
        (["--encoder-url", "127.0.0.1:8085"], "is not an address of an encoder"),
        (["--encoder-url", "OPENSEARCH"], "is not an encoder of this version"),
        (["--encoder-url", "GUARDED"], "asks for a token; give the file that it was started with: --token-file"),
        (["--encoder-url", "GUARDED", "--token-file", "WRONG"], "asks for another token"),
        (["--encoder-url", "GUARDED", "--token-file", "MISSING"], "No such file"),
        (["--encoder-url", "ENCODER", "--index", "Docs"], "cannot be called 'Docs'"),
        (["--encoder-url", "ENCODER", "--url", "http://127.0.0.1:9"], "127.0.0.1:9 cannot be reached"),
        (
            ["--encoder-url", "http://127.0.0.1:9", "--ask-url", "ENCODER"],
            "cannot use the encoder at http://127.0.0.1:9",
        ),
    ],
)
@pytest.mark.java
def test_mistakes(splare, opensearch_url, client, name, service, guarded, tmp_path, arguments, words):
    (tmp_path / "wrong").write_text("not-it")
    places = {
        "ENCODER": service.url,
        "GUARDED": guarded.url,
        "OPENSEARCH": opensearch_url,
        "WRONG": tmp_path / "wrong",
        "MISSING": tmp_path / "missing",
    }
    given = [places.get(argument, argument) for argument in arguments]
    outcome = splare("opensearch", "deploy", "--index", name, "--url", opensearch_url, *given)
    assert outcome.status == 2, outcome.out
    assert words in " ".join(outcome.err.split())
    assert "not-it" not in outcome.err
    assert "Traceback" not in outcome.err
    assert remains(client, name) == []
    assert not client.indices.exists(index=name)


@pytest.mark.java
def test_an_encoder_of_another_model(splare, opensearch_url, client, place, service):
    splare("opensearch", "deploy", "-i", place, "--url", opensearch_url, "--encoder-url", service.url)
    with encoder(tiny_model(seed=1)) as other:
        outcome = splare("opensearch", "deploy", "-i", place, "--url", opensearch_url, "--encoder-url", other.url)
    assert outcome.status == 2
    assert "was made with tiny seed-0" in outcome.err
    assert "tiny seed-1" in outcome.err
    bulk(client, place, {"a": {"text": "still works"}})
    assert client.count(index=place)["count"] == 1


@pytest.mark.java
@pytest.mark.usefixtures("whole_cluster")
@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("trusted_connector_endpoints_regex", ["^https://trusted\\.example/.*$"], "trusted connector endpoint"),
        ("connector.private_ip_enabled", False, "private ip"),
    ],
)
def test_a_cluster_that_may_not_call_the_encoder(
    splare, opensearch_url, client, place, service, setting, value, words
):
    setting = f"plugins.ml_commons.{setting}"
    command = ["opensearch", "deploy", "-i", place, "--url", opensearch_url, "--encoder-url", service.url, "--json"]
    client.cluster.put_settings(body={"persistent": {setting: value}})
    try:
        refused = splare(*command)
        assert refused.status == 2
        assert words in refused.err
        assert "--trust-encoder" in refused.err
        assert remains(client, place) == []
        assert f"setting {setting}" in splare(*command, "--trust-encoder").facts["changes"]
        assert splare(*command, "--trust-encoder").facts["changes"] == []
        now = client.cluster.get_settings(params={"flat_settings": "true"})["persistent"][setting]
        assert now == "true" or now[0] == value[0]
    finally:
        client.cluster.put_settings(body={"persistent": {setting: None}})


@pytest.mark.java
def test_indexes_that_are_not_for_this(splare, opensearch_url, client, name, service, tiny):
    foreign = {"mappings": {"properties": {"splare": {"type": "rank_features"}}}}
    elsewhere = index_body(IndexCard(config=tiny.config, field="tokens"))
    unknown = index_body(IndexCard(config=None))
    busy = index_body(IndexCard(config=tiny.config))
    busy["settings"]["index"]["default_pipeline"] = "mine"
    half = index_body(IndexCard(config=tiny.config, state="loading"))
    for number, (body, words) in enumerate(
        [
            (foreign, "not made by splare"),
            (elsewhere, "has its vectors in 'tokens'"),
            (unknown, "does not say which model"),
            (busy, "default_pipeline 'mine' already"),
            (half, "not complete"),
        ]
    ):
        index = f"{name}-{number}"
        client.indices.create(index=index, body=body)
        outcome = splare("opensearch", "deploy", "-i", index, "--url", opensearch_url, "--encoder-url", service.url)
        assert outcome.status == 2
        assert words in outcome.err
        assert remains(client, index) == []
        assert client.indices.exists(index=index)
    outcome = splare("opensearch", "undeploy", "-i", f"{name}-0", "--url", opensearch_url, "--with-index")
    assert (outcome.status, client.indices.exists(index=f"{name}-0")) == (2, True)
    assert "not made by splare" in outcome.err


def cluster(version="2.19.1", components=("opensearch-ml", "opensearch-neural-search")):
    """A server that has these plugins on one of its two nodes, and both on the other."""

    def answer(method, path, body):
        if path == "/":
            return about(version)
        if path.startswith("/_cat/nodes"):
            return 200, [{"name": "one"}, {"name": "two"}]
        if path.startswith("/_cat/plugins"):
            all_of_them = ("opensearch-ml", "opensearch-neural-search")
            rows = [("one", each) for each in all_of_them] + [("two", each) for each in components]
            return 200, [{"name": node, "component": each} for node, each in rows]
        return None

    return answer


@pytest.mark.parametrize(
    ("server", "words"),
    [
        (cluster(components=["opensearch-neural-search"]), "opensearch-ml (ml-commons) is missing on two"),
        (cluster(components=["opensearch-ml"]), "opensearch-neural-search (neural-search) is missing on two"),
        (cluster(version="2.15.0"), "they come with 2.16"),
    ],
)
def test_clusters_that_cannot(splare, serve, service, server, words):
    with serve(server) as url:
        outcome = splare("opensearch", "deploy", "-i", "docs", "--url", url, "--encoder-url", service.url)
    assert outcome.status == 2
    assert words in " ".join(outcome.err.split())


def test_a_cluster_that_makes_its_key_first(serve, monkeypatch, tiny):
    """Right after the start of a new cluster, connectors are refused for some seconds."""
    monkeypatch.setattr(remote_models, "_PAUSE", 0.01)
    asked = []

    def answer(method, path, body):
        asked.append(path)
        if path.endswith("connectors/_create"):
            failed = {"error": {"reason": "Fetching master key timed out."}, "status": 500}
            return (500, failed) if len(asked) < 3 else (200, {"connector_id": "c"})
        if path.endswith("_predict"):
            return 200, {"inference_results": [{"output": [{"dataAsMap": {"response": [{"f1": 1.0}]}}]}]}
        if path.endswith("models/m"):
            return 200, {"model_state": "DEPLOYING" if asked.count(path) < 3 else "DEPLOYED"}
        return 200, {"model_id": "m"}

    plan = Deployment(index="docs", encoder_url="http://127.0.0.1:8085", config=tiny.config)
    with serve(answer) as url:
        assert remote_models.make_model(connect(url), plan, "query") == "m"
    assert [path.rsplit("/", 1)[-1] for path in asked] == [
        *["_create"] * 3,
        "_register",
        "_deploy",
        *["m"] * 3,
        "_predict",
    ]


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"read_timeout": 0}, {"connections": 0}, {"passage_words": 0}])
def test_numbers_that_cannot_be(tiny, options):
    with pytest.raises(InputError, match=next(iter(options))):
        Deployment(index="docs", encoder_url="http://127.0.0.1:8085", config=tiny.config, **options)


def test_an_encoder_that_is_still_loading(tiny):
    gate = threading.Event()

    def load(device):
        assert gate.wait(20)
        return tiny

    with running(load, ready=False) as service:
        with pytest.raises(InputError, match="not ready yet"):
            ask_encoder(service.url)
        gate.set()


def test_names_stay_text_in_bodies(tiny):
    plan = Deployment(index="a{}'b", encoder_url="http://127.0.0.1:1", config=tiny.config)
    assert {request.path for request in all_requests(plan)} >= {"/a{}'b", "/_ingest/pipeline/splare-a{}'b"}
    json.dumps([request._asdict() for request in all_requests(plan)])
