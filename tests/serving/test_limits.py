"""What is refused, with which status, and that it leaves the server as it was."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import pytest
import requests

from splare_plugins.errors import InputError
from splare_plugins.serving.limits import Limits
from tests.serving.conftest import running, wait_until

SMALL = Limits(queue_tokens=60, body_bytes=2000, texts=4, text_characters=500, body_seconds=0.3)


@pytest.fixture(scope="module")
def small(tiny):
    with running(lambda device: tiny, limits=SMALL) as client:
        yield client


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["x" * 450] * 5, "2000 bytes"),
        (["a"] * 5, "5 texts are more than the 4"),
    ],
)
def test_too_much_is_413(small, texts, words):
    answer = small.encode(texts)
    assert answer.status_code == 413
    assert words in answer.json()["detail"]


def test_the_limits_themselves_are_allowed(small):
    assert small.encode(["a"] * 4).status_code == 200
    assert small.encode(["x" * 500]).status_code == 200
    padding = 2000 - len('{"texts":["a"]}')
    body = '{"texts":["a"]}' + " " * padding
    assert requests.post(f"{small.url}/encode", data=body, timeout=20).status_code == 200
    assert requests.post(f"{small.url}/encode", data=body + " ", timeout=20).status_code == 413


def test_a_body_without_a_length_is_bounded_too(small):
    chunks = (b" " * 500 for _ in range(5))
    assert requests.post(f"{small.url}/encode", data=chunks, timeout=20).status_code == 413
    # One that never ends is not read to its end.
    endless = iter(lambda: b" " * 500, None)
    with contextlib.suppress(requests.ConnectionError):  # the server hangs up while the client still sends
        assert requests.post(f"{small.url}/encode", data=endless, timeout=20).status_code == 413
    assert small.encode(["a"]).status_code == 200


def test_a_long_text_is_cut_and_counted(small):
    name = 'splare_texts_truncated_total{content_type="passage"}'
    small.encode(["a"])
    before = small.metric(name)
    cut, longest, whole = (small.encode([text]).json() for text in ("ab " * 300, ("ab " * 300)[:500], "ab ab"))
    assert cut == longest != whole
    # The model's own length is less.
    assert small.metric(name) == before + 2


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ("$\ue000{a}", "${a}"),
        ("\ue000\ue000{a", "\ue000{a"),
        ("a\ue000\ue000", "a\ue000"),
        ("{a", "{a"),
        ("${a}", "${a}"),
    ],
)
def test_braces_that_the_sender_escaped(serve, tiny, sent, meant):
    client = serve(lambda device: tiny)
    assert client.encode([sent], brace_escape="\ue000").json() == client.encode([meant]).json()
    assert client.encode([sent], brace_escape="two").status_code == 422


def test_a_body_that_does_not_come_is_408(small):
    host, port = small.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as slow:
        slow.sendall(b"POST /encode HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n{")
        assert slow.recv(4096).startswith(b"HTTP/1.1 408")


def test_back_pressure(serve, gated):
    client = serve(lambda device: gated, limits=SMALL)
    gated.gate.clear()
    with ThreadPoolExecutor(4) as clients:
        taken = clients.submit(client.encode, ["taken"])
        assert gated.at_gate.acquire(timeout=20)
        waiting = clients.submit(client.encode, ["x" * 200])
        wait_until(lambda: client.metric("splare_queue_requests") == 1)
        refused = client.encode(["y" * 200])
        assert refused.status_code == 429
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
        assert refused.headers["Retry-After"] in refused.json()["detail"]
        assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200
        gated.gate.set()
        assert taken.result().status_code == waiting.result().status_code == 200
    assert client.encode(["y" * 200]).status_code == 200
    assert client.metric('splare_requests_total{path="/encode",status="429"}') == 1


def test_not_ready_until_loaded(serve, tiny):
    loaded = threading.Event()

    def load(device: str):
        assert loaded.wait(20)
        return tiny

    client = serve(load, ready=False)
    assert client.get("/healthz").json() == {"status": "ok"}
    assert (client.get("/readyz").status_code, client.get("/readyz").json()) == (503, {"status": "loading"})
    early = client.encode(["a"])
    assert (early.status_code, early.headers["Retry-After"]) == (503, "5")
    assert client.get("/model").status_code == 503
    loaded.set()
    wait_until(lambda: client.get("/readyz").status_code == 200)
    assert client.encode(["a"]).status_code == 200


def opened(client, count: int, host: str = "127.0.0.1") -> list[socket.socket]:
    """Connections that say nothing."""
    port = int(client.url.rpartition(":")[2])
    return [socket.create_connection(("127.0.0.1", port), source_address=(host, 0)) for _ in range(count)]


def ended(connection: socket.socket, seconds: float = 20) -> bytes:
    """What a connection said until it was closed."""
    connection.settimeout(seconds)
    said = b""
    while more := connection.recv(1 << 16):
        said += more
    return said


def test_too_many_connections_are_503(serve, tiny):
    client = serve(lambda device: tiny, max_connections=4)
    idle = [*opened(client, 2, "127.0.0.2"), *opened(client, 2, "127.0.0.3")]
    try:
        wait_until(lambda: len(client.server.server_state.connections) >= 4)
        assert client.encode(["a"]).status_code == 503
    finally:
        for connection in idle:
            connection.close()
    wait_until(lambda: client.encode(["a"]).status_code == 200)


def test_one_client_cannot_take_the_connections_of_all(serve, tiny):
    client = serve(lambda device: tiny, max_connections=8)
    idle = opened(client, 4, "127.0.0.2")
    wait_until(lambda: len(client.server.server_state.connections) >= 4)
    assert b"503 Service Unavailable" in ended(opened(client, 1, "127.0.0.2")[0])
    assert client.get("/healthz").status_code == 200
    idle.pop().close()
    wait_until(lambda: len(client.server.server_state.connections) <= 3)
    (again,) = opened(client, 1, "127.0.0.2")
    again.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert b"200 OK" in ended(again)
    for connection in idle:
        connection.close()


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HTTP/1.1\r\nHost: x\r\n"], ids=["silent", "half a header"])
def test_a_connection_without_headers_is_closed(serve, tiny, sent):
    client = serve(lambda device: tiny, max_connections=6, header_seconds=0.3)
    idle = opened(client, 3)
    for connection in idle:
        connection.sendall(sent)
    assert [ended(connection) for connection in idle] == [b""] * 3
    assert client.get("/healthz").status_code == 200


def test_the_time_for_headers_counts_for_every_request_of_a_connection(serve, tiny):
    client = serve(lambda device: tiny, header_seconds=0.5)
    connection = HTTPConnection("127.0.0.1", int(client.url.rpartition(":")[2]))
    for _ in range(3):  # idle between two requests for longer is another limit, that of keep-alive
        connection.request("GET", "/healthz")
        assert connection.getresponse().read() == b'{"status":"ok"}'
        time.sleep(0.7)
    connection.sock.sendall(b"GET /healthz")
    assert ended(connection.sock) == b""


def test_an_answer_may_take_longer_than_headers(serve, gated):
    client = serve(lambda device: gated, header_seconds=0.3)
    gated.gate.clear()
    with ThreadPoolExecutor(1) as clients:
        taken = clients.submit(client.encode, ["a"])
        assert gated.at_gate.acquire(timeout=20)
        time.sleep(0.6)
        gated.gate.set()
        assert taken.result().status_code == 200


def test_token(serve, tiny):
    client = serve(lambda device: tiny, token="a-secret")
    for header in ({}, {"Authorization": "Bearer a-secre"}, {"Authorization": "Basic a-secret"}):
        for path in ("/model", "/metrics"):
            answer = client.get(path, headers=header)
            assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
        answer = requests.post(f"{client.url}/encode", json={"texts": ["a"]}, headers=header, timeout=20)
        assert answer.status_code == 401
        assert "a-secret" not in answer.text
    odd = requests.get(f"{client.url}/model", headers={"Authorization": b"Bearer \xe9"}, timeout=20)
    assert odd.status_code == 401
    good = {"Authorization": "Bearer a-secret"}
    assert requests.post(f"{client.url}/encode", json={"texts": ["a"]}, headers=good, timeout=20).status_code == 200
    assert client.get("/metrics", headers=good).status_code == 200
    assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200
    assert client.get("/openapi.json").json()["components"]["securitySchemes"]["token"]["scheme"] == "bearer"


@pytest.mark.parametrize("name", ["queue_tokens", "batch_tokens", "body_bytes", "texts", "text_characters"])
def test_limits_are_above_0(name):
    with pytest.raises(InputError, match=name.replace("_", " ")):
        Limits(**{name: 0})


@pytest.mark.slow
def test_memory_stays_flat_under_load(serve, tiny):
    """Refusals and answers alternate; what a request took is given back."""
    client = serve(lambda device: tiny, limits=Limits(queue_tokens=2000))
    texts = ["word " * 40] * 16

    def load(count: int) -> set[int]:
        with ThreadPoolExecutor(16) as clients:
            return {answer.status_code for answer in clients.map(lambda _: client.encode(texts), range(count))}

    load(100)
    before = resident()
    assert load(300) <= {200, 429}
    assert resident() - before < 24 << 20
    assert client.metric("splare_queue_tokens") == 0


def resident() -> int:
    """Bytes of this process in memory (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
