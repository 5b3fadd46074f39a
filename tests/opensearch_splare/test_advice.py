"""Commands in messages about clusters name the cluster that was meant, and no password."""

from __future__ import annotations

import pytest

from opensearch_splare import connect
from opensearch_splare.encoder_service import ask_encoder
from opensearch_splare.index import SplareIndex
from opensearch_splare.location import cluster_options
from opensearch_splare.node import background
from opensearch_splare.writer import OpenSearchWriter
from splare_plugins.errors import InputError
from tests.cli.test_pasted_commands import parsed
from tests.tiny import tiny_model

from .conftest import about
from .deploying import deployed, encoder


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("http://127.0.0.1:9200", []),
        ("http://127.0.0.1:9201/", ["--url", "http://127.0.0.1:9201"]),
        ("https://me:se@cr/et@host:9200/prefix", ["--url", "https://USER:PASSWORD@host:9200/prefix"]),
        ("http://u:secret@a:1, http://b:2", ["--url", "http://USER:PASSWORD@a:1,http://b:2"]),
    ],
)
def test_the_options_of_a_cluster(monkeypatch, url, options):
    monkeypatch.delenv("OPENSEARCH_URL", raising=False)
    assert cluster_options(url) == options
    more = cluster_options(url, ca_certs="my certs.pem", aws_region="eu-west-1")
    assert more == [*options, "--ca-certs", "my certs.pem", "--aws-region", "eu-west-1"]
    monkeypatch.setenv("OPENSEARCH_URL", url)
    assert cluster_options(url) == []  # the program looks there by itself


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:9", ["start", "--port", "9"]),
        ("http://u:secret@localhost:9", ["start", "--port", "9"]),
        ("https://127.0.0.1:9", None),  # a node of ours speaks http
        ("http://no-such-host.invalid:9200", None),
    ],
)
def test_what_can_be_started_is(config, url, words):
    with pytest.raises(InputError, match="cannot be reached") as caught:
        OpenSearchWriter(f"{url}/docs", config)
    if words is None:
        assert "splare" not in str(caught.value) and "start it, or correct the URL" in str(caught.value)
    else:
        parsed(str(caught.value), *words)


def test_an_index_that_is_not_there(serve):
    missing = 404, {"error": {"type": "index_not_found_exception", "reason": "no such index"}, "status": 404}
    with (
        serve(lambda method, path, body: about("2.19.1") if path == "/" else missing) as url,
        pytest.raises(InputError, match="there is no index 'docs'") as caught,
    ):
        SplareIndex(connect(url.replace("//", "//user:secret@")), "docs").count()
    parsed(str(caught.value), "docs", url)
    assert "secret" not in str(caught.value)


def test_an_encoder_that_is_not_there():
    with pytest.raises(InputError, match=r"correct --encoder-url, or give the address .* with --ask-url"):
        ask_encoder("http://127.0.0.1:9")
    with pytest.raises(InputError, match=r"correct --ask-url$"):
        ask_encoder("http://127.0.0.1:9", option="--ask-url")


def test_a_node_that_runs_is_stopped_by_its_folder(tmp_path, monkeypatch):
    folder = tmp_path / "a node"
    state = background.BackgroundNode(url="http://127.0.0.1:9", pid=1, folder=str(folder), log="log")
    monkeypatch.setattr(background, "_running", lambda place: state)
    with pytest.raises(InputError, match="stop it first") as caught:
        background.start_background(folder, port=1, heap="1g", version="2")
    parsed(str(caught.value), folder)


@pytest.mark.java
def test_a_deployment_in_the_way(client, name, tiny, opensearch_url, tmp_path):
    with encoder(tiny) as service:
        deployed(client, name, service, tiny)
    location = f"{opensearch_url.replace('//', '//user:secret@')}/{name}"
    with pytest.raises(InputError, match="another model") as caught:
        OpenSearchWriter(location, tiny_model(seed=1).config, overwrite=True, connection={"aws_region": None})
    parsed(str(caught.value), name, opensearch_url.replace("//", "//USER:PASSWORD@"))
    assert "secret" not in str(caught.value)
