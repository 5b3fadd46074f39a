"""Indexes on the session's real node, and a stand-in for servers that answer as it never would."""

from __future__ import annotations

import json
import secrets
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from opensearchpy import OpenSearch
from scipy.sparse import csr_array

from opensearch_splare import connect
from splare_plugins.config import SideConfig, SplareConfig

WIDTH = 2048

Answer = tuple[int, Any]
"""Status and JSON."""
Serve = Callable[..., AbstractContextManager[str]]


@pytest.fixture
def client(opensearch_url: str) -> Iterator[OpenSearch]:
    with connect(opensearch_url) as opened:
        yield opened


@pytest.fixture
def name(client: OpenSearch) -> Iterator[str]:
    """A name that nothing has; whatever begins with it is removed."""
    chosen = f"test-{secrets.token_hex(6)}"
    yield chosen
    client.indices.delete(index=f"{chosen}*", params={"expand_wildcards": "all"})


@pytest.fixture
def config() -> SplareConfig:
    return SplareConfig(
        name="vectors",
        revision="1",
        backbone="backbone",
        width=WIDTH,
        query=SideConfig(top_k=40, scale=100.0),
        document=SideConfig(top_k=400, scale=50.0),
    )


@pytest.fixture
def serve() -> Serve:
    """Run a server on loopback that asks a function for each answer; ``None`` is a 404; ``tls``: certificate, key."""

    @contextmanager
    def run(answer: Callable[[str, str, bytes], Answer | None], tls: tuple[Path, Path] | None = None) -> Iterator[str]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def reply(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, values = answer(self.command, self.path, body) or (404, {"error": "nothing here"})
                content = json.dumps(values).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = reply

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()

    return run


def random_impacts(rows: int, features: int, *, seed: int = 0, width: int = WIDTH) -> csr_array:
    """Rows of ``features`` distinct latents with impacts of 1..255."""
    rng = np.random.default_rng(seed)
    latents = np.sort(np.argsort(rng.random((rows, width)), axis=1)[:, :features], axis=1).astype(np.int32)
    impacts = rng.integers(1, 256, size=rows * features).astype(np.int32)
    return csr_array((impacts, latents.ravel(), np.arange(rows + 1) * features), shape=(rows, width))


def impacts_of(*rows: dict[int, int], width: int = WIDTH) -> csr_array:
    """Rows given as ``{latent: impact}``."""
    latents = np.array([latent for row in rows for latent in sorted(row)], dtype=np.int32)
    values = np.array([row[latent] for row in rows for latent in sorted(row)], dtype=np.int32)
    return csr_array((values, latents, np.cumsum([0, *map(len, rows)])), shape=(len(rows), width))


def names(count: int) -> list[str]:
    return [f"d{number}" for number in range(count)]


def about(version: str, distribution: str | None = "opensearch") -> Answer:
    """What a server says of itself."""
    return 200, {"version": {"number": version, **({"distribution": distribution} if distribution else {})}}
