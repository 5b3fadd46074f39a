"""One real OpenSearch node for the whole run, or the cluster that ``OPENSEARCH_URL`` names.

The first worker that needs the node starts this file as a process of its own, which the others find by an address in
the run's folder. It ends when the pipe that is its standard input has no writer any more. The only writer is xdist's
controller, so the node outlives every worker, also one that dies, and never the run.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from opensearch_splare.node import Node
from opensearch_splare.node.process import QUICK_JVM, get_json

# The contract suite searches with 1,500 latents; an untouched cluster takes 1,024.
MAX_CLAUSES = 2048


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Called in xdist's controller for each worker."""
    node.workerinput["opensearch_pipe"] = str(_pipe())


@pytest.fixture(scope="session")
def run_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of the run share."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if hasattr(request.config, "workerinput") else folder


@pytest.fixture(scope="session")
def opensearch_cluster(request: pytest.FixtureRequest, run_folder: Path) -> Iterator[str]:
    """URL of a cluster with the plugins k-NN, neural-search, ml-commons and job-scheduler."""
    if url := os.environ.get("OPENSEARCH_URL"):
        yield url
    elif hasattr(request.config, "workerinput"):
        yield _shared_node(run_folder, Path(request.config.workerinput["opensearch_pipe"]))
    else:
        with _node(run_folder) as node:
            yield node.url


@pytest.fixture
def opensearch_url(request: pytest.FixtureRequest, opensearch_cluster: str, run_folder: Path) -> Iterator[str]:
    """URL of the cluster, for a test that shares it, or has it alone if it asks for :func:`whole_cluster`."""
    with _locked(run_folder / "opensearch.turn", alone="whole_cluster" in request.fixturenames):
        yield opensearch_cluster


@pytest.fixture
def whole_cluster() -> None:
    """For tests that change settings of the whole cluster: no test of another worker runs on it meanwhile."""


def _node(folder: Path) -> Node:
    settings = {"indices.query.bool.max_clause_count": str(MAX_CLAUSES)}
    return Node(folder / "opensearch", heap="768m", jvm_options=QUICK_JVM, settings=settings)


def _shared_node(folder: Path, pipe: Path) -> str:
    """The address of the run's node, which is started if it does not answer."""
    note = folder / "opensearch.url"
    with _locked(folder / "opensearch.lock", alone=True):
        if note.exists() and get_json(url := note.read_text()):
            return url
        command = [sys.executable, "-m", "tests.opensearch_node", str(folder)]
        root = Path(__file__).parents[1]
        with pipe.open("rb") as reading:
            process = subprocess.Popen(command, stdin=reading, stdout=subprocess.PIPE, text=True, cwd=root)
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url, "the OpenSearch node did not start; what it said stands above"
        note.write_text(url)
        return url


@contextmanager
def _locked(path: Path, *, alone: bool) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield


@cache
def _pipe() -> Path:
    """A named pipe that this process can write to until it ends."""
    folder = Path(tempfile.mkdtemp(prefix="splare-opensearch-"))
    atexit.register(shutil.rmtree, folder)
    pipe = folder / "pipe"
    os.mkfifo(pipe)
    os.open(pipe, os.O_RDWR)  # for reading too, since opening for writing alone waits for a reader
    return pipe


def main() -> None:
    """Run a node until the end of standard input."""
    with _node(Path(sys.argv[1])) as node:
        sys.stdout.write(f"{node.url}\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
