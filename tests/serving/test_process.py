"""``splare serve`` as a process: where it listens, how it ends, what it refuses to start with."""

from __future__ import annotations

import datetime
import json
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest
import requests

from splare_plugins.config import SplareConfig
from splare_plugins.errors import InputError
from splare_plugins.serving.listening import warn_if_open
from splare_plugins.serving.security import is_loopback, read_token, require_tls_files
from splare_plugins.serving.server import JsonFormatter, ServerOptions
from tests.serving.conftest import GatedModel, running, wait_until

PROGRAM = str(Path(sys.executable).with_name("splare"))


@contextmanager
def splare_serve(*arguments: object, environment: dict[str, str] | None = None):
    """The process, the address that it printed, and a function that waits for its end and gives its log."""
    command = [PROGRAM, "serve", *map(str, arguments), "--port", "0", "--device", "cpu"]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, env={**os.environ, **(environment or {})}
        )

        def end() -> str:
            assert process.wait(30) == 0
            log.seek(0)
            return log.read()

        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().removeprefix("listening on ").strip(), end
        finally:
            process.kill()
            process.communicate()


def is_ready(url: str, **options) -> bool:
    try:
        return requests.get(f"{url}/readyz", timeout=20, **options).status_code == 200
    except requests.ConnectionError:
        return False


@pytest.mark.slow
def test_a_signal_lets_requests_finish(tiny_folder):
    """Work is under way and waiting when SIGTERM comes: all of it is answered, and the status is 0."""
    with splare_serve(tiny_folder, "--drain-seconds", "0.5", "--max-queue-tokens", "1000000") as (process, url, end):
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", url)
        wait_until(lambda: is_ready(url), 60)
        texts = ["word " * 40 + str(number) for number in range(200)]
        with ThreadPoolExecutor(8) as clients:
            answers = [
                clients.submit(requests.post, f"{url}/encode", json={"texts": texts}, timeout=60) for _ in range(8)
            ]
            wait_until(lambda: "splare_queue_requests 7.0" in requests.get(f"{url}/metrics", timeout=20).text)
            process.send_signal(signal.SIGTERM)
            wait_until(lambda: requests.get(f"{url}/readyz", timeout=20).json() == {"status": "draining"})
            assert [len(answer.result().json()) for answer in answers] == [200] * 8
        logs = end()
        with pytest.raises(requests.ConnectionError):
            requests.get(f"{url}/healthz", timeout=20)
    lines = [json.loads(line) for line in logs.splitlines()]
    served = [line for line in lines if line.get("path") == "/encode"]
    assert [(line["status"], line["texts"], line["content_type"]) for line in served] == [(200, 200, "passage")] * 8
    assert len({line["request_id"] for line in served}) == 8
    assert "word word" not in logs


@pytest.mark.slow
def test_an_interrupt_ends_it_too(tiny_folder):
    with splare_serve(tiny_folder) as (process, url, end):
        wait_until(lambda: is_ready(url), 60)
        process.send_signal(signal.SIGINT)
        logs = end()
    assert "Traceback" not in logs


@pytest.mark.slow
def test_tls_and_a_token_from_the_environment(tiny_folder, certificate):
    cert, key = certificate
    secret = {"SPLARE_SERVE_TOKEN": "from-the-environment"}
    with splare_serve(tiny_folder, "--tls-cert", cert, "--tls-key", key, environment=secret) as (process, url, end):
        assert url.startswith("https://127.0.0.1:")
        wait_until(lambda: is_ready(url, verify=str(cert)), 60)
        header = {"Authorization": "Bearer from-the-environment"}
        sent = {"json": {"texts": ["a"]}, "verify": str(cert), "timeout": 20}
        assert requests.post(f"{url}/encode", **sent).status_code == 401
        assert len(requests.post(f"{url}/encode", headers=header, **sent).json()) == 1
        with pytest.raises(requests.ConnectionError):
            requests.get(url.replace("https", "http") + "/healthz", timeout=20)
        process.terminate()
        logs = end()
    assert "from-the-environment" not in logs


@pytest.mark.slow
def test_two_models_in_one_process(tiny_folder):
    with splare_serve(tiny_folder, "--device", "cpu") as (_, url, _):
        wait_until(lambda: is_ready(url), 60)
        with ThreadPoolExecutor(8) as clients:
            answers = clients.map(
                lambda n: requests.post(f"{url}/encode", json={"texts": [f"text {n}"]}, timeout=20).status_code,
                range(64),
            )
            assert set(answers) == {200}


def refusal(*arguments: object) -> str:
    """The sentence of a server that does not start."""
    ended = subprocess.run(
        [PROGRAM, "serve", *map(str, arguments), "--device", "cpu"], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    return ended.stderr


@pytest.mark.slow
def test_a_port_in_use():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        sentence = refusal("--port", port)
    assert f"port {port}" in sentence
    assert "--port" in sentence


@pytest.mark.slow
def test_a_model_that_is_not_there():
    assert "no model folder './nowhere'" in refusal("./nowhere", "--port", "0")


@pytest.mark.slow
def test_a_model_without_scales(tiny_folder, tmp_path):
    shutil.copytree(tiny_folder, tmp_path / "model")
    path = tmp_path / "model" / "splare_config.json"
    values = json.loads(path.read_text())
    del values["fingerprint"]
    values["query"]["scale"] = None
    path.write_text(json.dumps(values))
    assert SplareConfig.load(path.parent).query.scale is None
    assert "calibrate" in refusal(path.parent, "--port", "0")


def test_addresses():
    assert [is_loopback(host) for host in ("127.0.0.1", "127.8.8.8", "::1", "localhost")] == [True] * 4
    assert [is_loopback(host) for host in ("0.0.0.0", "::", "10.0.0.1", "example.org")] == [False] * 4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"host": "127.0.0.1"}, None),
        ({"host": "0.0.0.0"}, "without a token and without TLS"),
        ({"host": "0.0.0.0", "token": "x"}, "without TLS"),
        ({"host": "0.0.0.0", "token": "x", "tls_cert": Path("cert.pem")}, None),
    ],
)
def test_open_doors_are_warned_of(caplog, options, words):
    with caplog.at_level(logging.WARNING):
        warn_if_open(ServerOptions(**options))
    assert (words in caplog.text) if words else not caplog.text


def test_tokens(tmp_path, monkeypatch):
    monkeypatch.delenv("SPLARE_SERVE_TOKEN", raising=False)
    assert read_token(None) is None
    monkeypatch.setenv("SPLARE_SERVE_TOKEN", "one")
    assert read_token(None) == "one"
    file = tmp_path / "token"
    file.write_text("two\n")
    assert read_token(file) == "two"
    for content in ("", " \n", "a b", "café", "one\ntwo"):
        file.write_text(content, encoding="utf-8")
        with pytest.raises(InputError, match=re.escape(str(file))):
            read_token(file)
    file.write_bytes(b"\xff")
    with pytest.raises(InputError, match="not a text file"):
        read_token(file)
    with pytest.raises(FileNotFoundError):
        read_token(tmp_path / "missing")


def test_tls_files(tmp_path, certificate):
    cert, key = certificate
    require_tls_files(None, None)
    require_tls_files(cert, key)
    for pair, words in [
        ((cert, None), "--tls-key"),
        ((cert, tmp_path / "missing"), "missing"),
        ((key, cert), "PEM"),
        ((cert, encrypted(key, tmp_path / "encrypted.pem")), "unencrypted"),
    ]:
        with pytest.raises(InputError, match=words):
            require_tls_files(*pair)


def test_an_exception_in_a_log_is_still_one_line():
    try:
        raise ValueError("two\nlines")
    except ValueError:
        record = logging.LogRecord("name", logging.ERROR, "file", 1, "failed %d", (7,), sys.exc_info())
    record.fields = {"request_id": "abc"}
    line = JsonFormatter().format(record)
    assert "\n" not in line
    entry = json.loads(line)
    assert (entry["message"], entry["request_id"], entry["level"]) == ("failed 7", "abc", "error")
    assert "ValueError" in entry["exception"]


def test_shutting_down_gives_up_on_what_takes_too_long(tiny):
    """The client of a batch that does not end is let go after ``shutdown_seconds``."""
    gated = GatedModel(tiny)
    with ThreadPoolExecutor(1) as clients, running(lambda device: gated, shutdown_seconds=1) as client:
        gated.gate.clear()
        hanging = clients.submit(client.encode, ["hanging"])
        try:
            assert gated.at_gate.acquire(timeout=10)
            client.server.should_exit = True
            assert hanging.result(15).status_code == 503
        finally:
            gated.gate.set()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory) -> tuple[Path, Path]:
    """A self-signed certificate of 127.0.0.1, and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    today = datetime.datetime.now(datetime.UTC)
    cert = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    (folder / "cert.pem").write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    )
    return folder / "cert.pem", folder / "key.pem"


def encrypted(key: Path, target: Path) -> Path:
    from cryptography.hazmat.primitives import serialization

    private = serialization.load_pem_private_key(key.read_bytes(), None)
    locked = serialization.BestAvailableEncryption(b"secret")
    target.write_bytes(private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked))
    return target


@pytest.mark.slow
def test_a_search_page_takes_the_model_of_its_index(tiny_folder, tmp_path):
    (tmp_path / "c.tsv").write_text("d1\tthe quick fox\nd2\ta dog\n", encoding="utf-8")
    index = [PROGRAM, "index", "memory", "c.tsv", "-o", "index", "-M", str(tiny_folder)]
    subprocess.run(index, cwd=tmp_path, check=True, capture_output=True)
    place = ("--index", tmp_path / "index", "--corpus", tmp_path / "c.tsv")
    with splare_serve(*place) as (process, url, end):
        wait_until(lambda: is_ready(url), 60)
        assert "SPLARE search" in requests.get(url, timeout=20).text
        told = requests.post(f"{url}/search", json={"query": "fox", "words": True}, timeout=20).json()
        assert {hit["text"] for hit in told["hits"]} <= {"the quick fox", "a dog"}
        assert [hit["docid"] for hit in told["words"]] == ["d1"]
        process.send_signal(signal.SIGTERM)
        log = [json.loads(line) for line in end().splitlines()]
    assert not any("fox" in json.dumps(line) for line in log)
