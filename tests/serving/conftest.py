"""Real servers on loopback, in threads of this process."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import pytest
import requests
from scipy.sparse import csr_array

from splare_plugins.config import Side
from splare_plugins.model.splare import SplareModel
from splare_plugins.serving.limits import Limits, ServerOptions
from splare_plugins.serving.metrics import Metrics
from splare_plugins.serving.server import build_server
from splare_plugins.serving.service import Service


class GatedModel(SplareModel):
    """The real model, that waits at a gate before each call, and can be told to fail on a text."""

    poison = "poison"

    def __init__(self, model: SplareModel) -> None:
        super().__init__(model.config, model.backbone, model.head)
        self.gate = threading.Event()
        self.gate.set()
        self.at_gate = threading.Semaphore(0)
        self.calls: list[list[str]] = []

    def encode(self, texts: Sequence[str], side: Side, **options) -> csr_array:
        if not self.gate.is_set():
            self.at_gate.release()
        assert self.gate.wait(20)
        self.calls.append(list(texts))
        if self.poison in texts:
            raise RuntimeError("a text broke the model")
        return super().encode(texts, side, **options)


class Client:
    """Talks to one server."""

    def __init__(self, url: str, service: Service, server) -> None:
        self.url, self.service, self.server = url, service, server

    def encode(self, texts: object, **fields: object) -> requests.Response:
        return requests.post(f"{self.url}/encode", json={"texts": texts, **fields}, timeout=20)

    def get(self, path: str, **options) -> requests.Response:
        return requests.get(self.url + path, timeout=20, **options)

    def metric(self, name: str) -> float:
        (line,) = [line for line in self.get("/metrics").text.splitlines() if line.startswith(name + " ")]
        return float(line.split()[-1])


@contextmanager
def running(load: Callable[[str], SplareModel], *, devices=("cpu",), ready=True, limits=None, index=None, **options):
    """A server in a thread, stopped in an orderly way at the end."""
    service = Service(load, devices, limits or Limits(), Metrics())
    server = build_server(service, ServerOptions(**options), index)
    listener = socket.create_server(("127.0.0.1", options.get("port", 0)))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    client = Client(f"http://127.0.0.1:{listener.getsockname()[1]}", service, server)
    try:
        wait_until(lambda: server.started and (service.ready or not ready))
        yield client
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


@pytest.fixture(scope="session")
def server(tiny) -> Iterator[Client]:
    """A server of the tiny model with the default limits."""
    with running(lambda device: tiny) as client:
        yield client


@pytest.fixture
def gated(tiny) -> GatedModel:
    return GatedModel(tiny)


@pytest.fixture
def serve() -> Iterator[Callable[..., Client]]:
    """Start servers that end with the test."""
    with ExitStack() as stack:
        yield lambda *arguments, **options: stack.enter_context(running(*arguments, **options))
