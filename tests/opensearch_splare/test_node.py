"""Pieces of the node are fetched whole or not at all; processes end with those that started them."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from opensearch_splare.node import Node, home, node_home
from opensearch_splare.node.artifacts import Artifact, fetch, read_artifacts
from opensearch_splare.node.background import _claim
from opensearch_splare.node.home import download_size
from opensearch_splare.node.process import QUICK_JVM, free_port, get_json
from opensearch_splare.node.releases import RELEASES, get_release
from splare_plugins.errors import InputError, SplareError

CONTENT = bytes(range(256)) * 4000


@pytest.fixture
def repository(monkeypatch):
    """A repository with one file, which breaks off the first answer in the middle."""
    asked: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            span = self.headers.get("Range")
            asked.append(span)
            if self.path != "/some/piece.jar":
                self.send_error(404)
                return
            start = int(span.removeprefix("bytes=").removesuffix("-")) if span else 0
            self.send_response(206 if span else 200)
            self.send_header("Content-Length", str(len(CONTENT) - start))
            self.end_headers()
            self.wfile.write(CONTENT[start : start + 300_000] if len(asked) == 1 else CONTENT[start:])

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("SPLARE_MAVEN_URL", f"http://127.0.0.1:{server.server_port}/")
    yield asked
    server.shutdown()
    server.server_close()


def piece(path: str = "some/piece.jar", content: bytes = CONTENT) -> Artifact:
    return Artifact("lib", path, len(CONTENT), hashlib.sha256(content).hexdigest())


def test_a_download_that_breaks_off_goes_on(repository, tmp_path):
    arrived = []
    file = fetch(piece(), tmp_path, arrived.append)
    assert file.read_bytes() == CONTENT
    assert sum(arrived) == len(CONTENT)
    assert repository == [None, "bytes=300000-"]
    assert fetch(piece(), tmp_path) == file
    assert len(repository) == 2
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_another_file_is_refused_and_removed(repository, tmp_path):
    with pytest.raises(InputError, match="sha256"):
        fetch(piece(content=b"something else"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_missing_is_asked_for_once(repository, tmp_path):
    with pytest.raises(InputError, match=r"piece2.*SPLARE_MAVEN_URL"):
        fetch(piece("some/piece2.jar"), tmp_path)
    assert len(repository) == 1


def test_no_network(monkeypatch, tmp_path):
    monkeypatch.setenv("SPLARE_MAVEN_URL", "http://127.0.0.1:9")
    with pytest.raises(InputError, match="cannot fetch"):
        fetch(piece(), tmp_path)


def test_the_list_of_pieces():
    artifacts = read_artifacts()
    assert len({artifact.path for artifact in artifacts}) == len(artifacts)
    assert download_size() == sum(artifact.size for artifact in artifacts)
    assert all(len(artifact.sha256) == 64 for artifact in artifacts)


@pytest.mark.parametrize("version", RELEASES)
def test_each_release_has_its_pieces(version):
    release = get_release(version)
    artifacts = read_artifacts(release)
    folders = {artifact.folder.removeprefix("modules/") for artifact in artifacts if "modules/" in artifact.folder}
    assert folders == set(release.modules)
    assert any(artifact.name == f"opensearch-{release.version}.jar" for artifact in artifacts)
    assert download_size(version) == sum(artifact.size for artifact in artifacts)


def test_a_version_that_cannot_be_assembled():
    with pytest.raises(InputError, match="OpenSearch 4 can be assembled; there are 2 and 3"):
        get_release("4")


def test_a_folder_belongs_to_one_version(tmp_path):
    old = tmp_path / "old"
    (old / "data").mkdir(parents=True)  # made before versions were noted
    for folder, version in ((old, "3"), (tmp_path / "new", "2")):
        if version == "2":
            _claim(folder, "3")
            (folder / "data").mkdir()
        with pytest.raises(InputError, match=r"has the data of an OpenSearch \d.*--folder"):
            _claim(folder, version)
    _claim(old, "2")
    _claim(tmp_path / "new", "3")


@pytest.mark.java
def test_the_home_is_built_once(monkeypatch):
    home = node_home()
    monkeypatch.setenv("SPLARE_MAVEN_URL", "http://127.0.0.1:9")
    assert node_home() == home


@pytest.mark.java
def test_a_home_that_lost_a_jar_is_noticed(monkeypatch, tmp_path):
    """A copy by hard links stands in for the home, and nothing can be fetched: it would be built again."""
    real = node_home()
    monkeypatch.setenv("SPLARE_CACHE", str(tmp_path))
    monkeypatch.setenv("SPLARE_MAVEN_URL", "http://127.0.0.1:9")
    copy = tmp_path / real.name
    link_tree(real, copy)
    assert node_home() == copy
    next((copy / "lib").glob("lucene-core-*.jar")).unlink()
    with pytest.raises(InputError, match="cannot fetch"):
        node_home()


@pytest.mark.java
def test_of_two_that_build_at_once_one_does(monkeypatch, tmp_path):
    real, built = node_home(), []

    def build(place: Path, *_: object) -> None:
        built.append(place)
        time.sleep(0.3)
        link_tree(real, place)

    monkeypatch.setenv("SPLARE_CACHE", str(tmp_path))
    monkeypatch.setattr(home, "_build", build)
    with ThreadPoolExecutor(4) as pool:
        homes = list(pool.map(lambda _: node_home(), range(4)))
    assert set(homes) == {tmp_path / real.name}
    assert len(built) == 1


def link_tree(source: Path, target: Path) -> None:
    """A copy that takes no room, by hard links where they can be made."""
    shutil.copytree(source, target, copy_function=_link)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk
        shutil.copy(source, target)


@pytest.mark.java
def test_a_port_that_is_taken(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(InputError, match="is taken"):
        Node(tmp_path, port=other.getsockname()[1]).start()


@pytest.mark.java
@pytest.mark.slow
def test_a_node_that_cannot_start_says_why(tmp_path):
    with (
        pytest.raises(SplareError, match=r"no\.such\.setting"),
        Node(tmp_path, heap="512m", jvm_options=QUICK_JVM, settings={"no.such.setting": "1"}),
    ):
        pass
    assert (tmp_path / "node.log").exists()


TETHERED = """
import sys, time
from opensearch_splare.node import Node
from opensearch_splare.node.process import QUICK_JVM
Node(sys.argv[1], port=int(sys.argv[2]), heap="512m", jvm_options=QUICK_JVM).start()
print("started", flush=True)
time.sleep(600)
"""


@pytest.mark.java
@pytest.mark.slow
def test_a_node_ends_with_the_process_that_started_it(tmp_path):
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", TETHERED, str(tmp_path), str(port)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout.readline() == "started\n"
    url = f"http://127.0.0.1:{port}"
    assert get_json(url)["version"]["number"] == "2.19.1"
    process.kill()
    process.wait()
    deadline = time.monotonic() + 30
    while get_json(url) is not None and time.monotonic() < deadline:
        time.sleep(0.1)
    assert get_json(url) is None
