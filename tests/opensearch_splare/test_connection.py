"""Which server is asked, as whom, and what is said of it when it refuses."""

from __future__ import annotations

import sys

import pytest
from opensearchpy import OpenSearch

from opensearch_splare import SplareIndex, connect
from opensearch_splare.connection import address, explain_reason, server_version
from opensearch_splare.location import split_hosts, split_location
from splare_plugins.errors import InputError, MissingPartError
from splare_plugins.machine.places import without_password
from tests.serving.test_process import certificate

from .conftest import about

__all__ = ["certificate"]


def nodes(*versions):
    def answer(method, path, body):
        if path.startswith("/_nodes"):
            return 200, {"nodes": {str(number): {"version": each} for number, each in enumerate(versions)}}
        return about("7.10.2", None)

    return answer


def test_compatibility_mode_is_seen_through(serve):
    with serve(nodes("2.19.1", "2.11.0")) as url:
        assert server_version(connect(url)) == (2, 11)


def test_what_really_is_7_10_2(serve):
    with serve(nodes("7.10.2")) as url, pytest.raises(InputError, match=r"is not OpenSearch; its version is 7\.10\.2"):
        server_version(connect(url))


def test_compatibility_mode_whose_nodes_may_not_be_asked(serve):
    def answer(method, path, body):
        return (403, {"error": "no"}) if path.startswith("/_nodes") else about("7.10.2", None)

    with serve(answer) as url, pytest.raises(InputError, match=r"compatibility\.override_main_response_version"):
        server_version(connect(url))


@pytest.mark.java
@pytest.mark.usefixtures("whole_cluster")
def test_compatibility_mode_of_a_real_cluster(client):
    def switch(value):
        client.cluster.put_settings(body={"persistent": {"compatibility.override_main_response_version": value}})

    before = server_version(client)
    switch(True)
    try:
        assert client.info()["version"]["number"] == "7.10.2"
        assert server_version(client) == before
    finally:
        switch(None)


@pytest.mark.parametrize("word", ["query", "field"])
@pytest.mark.parametrize(("what", "way"), [("neural_sparse", "--form rank_feature"), ("hybrid", "do without")])
def test_a_missing_plugin(word, what, way):
    said = explain_reason(f"[1:36] unknown {word} [{what}]", "the index 'docs'", 400)
    assert "lacks the neural-search plugin" in said
    assert said.endswith(way) or way in said


def test_another_unknown_field_is_no_missing_plugin():
    assert "plugin" not in explain_reason("[1:36] unknown field [neurons]", "the index 'docs'", 400)


REFUSED = (401, {"error": {"type": "security_exception", "reason": "no"}})


@pytest.mark.parametrize(("user", "words"), [("", "asks for a user"), ("me:wr%2Fong@", "does not take this user")])
def test_a_wrong_password_is_not_a_missing_one(serve, user, words):
    with serve(lambda *_: REFUSED) as url, pytest.raises(InputError, match=words) as caught:
        SplareIndex(connect(url.replace("//", f"//{user}")), "docs").count()
    assert "wr" not in str(caught.value).replace("written", "")


@pytest.mark.parametrize("sign", ["/", "#", "?"])
@pytest.mark.parametrize("call", [connect, lambda url: split_location(f"{url}/docs")])
def test_signs_in_a_password_that_end_an_address(sign, call):
    with pytest.raises(InputError, match="%2F") as caught:
        call(f"https://me:sec{sign}ret@host:9200")
    assert "sec" not in str(caught.value)
    assert "ret" not in str(caught.value)


def test_the_same_signs_written_as_they_should_be():
    client = connect("https://me:a%2Fb%40c@host:9200")
    (connection,) = client.transport.connection_pool.connections
    expected = OpenSearch([{"host": "host", "port": 9200, "use_ssl": True}], http_auth=("me", "a/b@c"))
    assert (
        connection.headers["authorization"]
        == expected.transport.connection_pool.connections[0].headers["authorization"]
    )


def test_several_hosts():
    url = "https://me:a@one:9200/search,https://me:b@two:9201"
    assert split_hosts(url) == url.split(",")
    assert split_hosts("https://me:a,b@one:9200") == ["https://me:a,b@one:9200"]
    assert split_location(f"{url}/docs") == (url, "docs")
    assert sorted(address(connect(url)).split(", ")) == ["https://one:9200/search", "https://two:9201"]
    assert without_password(url) == "https://one:9200/search,https://two:9201"
    with pytest.raises(InputError, match="ftp://two"):
        connect("https://one:9200,ftp://two")


def test_an_at_sign_in_the_name_of_an_index():
    assert split_location("http://host:9200/me@docs") == ("http://host:9200", "me@docs")


def test_certificates(tmp_path, monkeypatch):
    bad = tmp_path / "bad.pem"
    bad.write_text("nothing")
    for given, words in ((tmp_path / "none.pem", "No such file"), (bad, "not a PEM file")):
        with pytest.raises(InputError, match=words):
            connect("https://host:9200", ca_certs=given)
    monkeypatch.setenv("OPENSEARCH_CA_CERTS", str(bad))
    with pytest.raises(InputError, match="not a PEM file"):
        connect("https://host:9200")


def test_a_certificate_of_ones_own(serve, certificate):
    with serve(lambda *_: about("2.19.1"), certificate) as url:
        with pytest.raises(InputError, match=r"certificate that is not trusted.*--ca-certs"):
            server_version(connect(url))
        assert server_version(connect(url, ca_certs=certificate[0])) == (2, 19)


def test_signing_needs_botocore(monkeypatch):
    monkeypatch.setitem(sys.modules, "botocore", None)
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    with pytest.raises(MissingPartError, match="pip install botocore"):
        connect("https://host:443", aws_region="eu-central-1")


@pytest.mark.parametrize(("host", "service"), [("x.eu.es.amazonaws.com", "es"), ("x.eu.aoss.amazonaws.com", "aoss")])
def test_signed_requests(monkeypatch, host, service):
    for name, value in (("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "secret")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OPENSEARCH_AWS_REGION", "eu-central-1")
    (connection,) = connect(f"https://{host}").transport.connection_pool.connections
    headers = connection.http_auth("GET", f"https://{host}/", "", {})
    assert f"/eu-central-1/{service}/aws4_request" in headers["Authorization"]


def test_an_error_names_the_prefix_of_a_proxy(serve):
    with (
        serve(lambda *_: (500, {"error": {"type": "oops", "reason": "a bug"}})) as url,
        pytest.raises(InputError, match=rf"{url}/proxy/search refused"),
    ):
        server_version(connect(f"{url}/proxy/search"))
