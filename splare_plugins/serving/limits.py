"""What one server takes before it says no, where it listens, and the words of its clients, with all defaults."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from splare_plugins.config import Side
from splare_plugins.errors import InputError

ContentType = Literal["query", "passage"]
CONTENT_TYPES: dict[Side, ContentType] = {"document": "passage", "query": "query"}
"""What clients, metrics and names on an OpenSearch cluster call the two sides."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds that keep memory and waiting time finite.

    Attributes:
        queue_tokens: estimated tokens that may wait; ``None`` is sixteen forward passes of the devices. A request
            beyond it is answered 429, except that an empty queue takes any request.
        batch_tokens: estimated tokens handed to a model at once; ``None`` is two forward passes of the device.
        body_bytes: largest request body.
        texts: most texts of a request.
        text_characters: what is read of a text. The model cuts it to its own length anyway; this bounds the
            tokenizer's work.
        body_seconds: time a client has to send its body.
    """

    queue_tokens: int | None = None
    batch_tokens: int | None = None
    body_bytes: int = 32 << 20
    texts: int = 8192
    text_characters: int = 200_000
    body_seconds: float = 30.0

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if value is not None and value <= 0:
                raise InputError(f"the limit of {name.replace('_', ' ')} must be above 0, not {value}")


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """Where and how to listen.

    Attributes:
        host: an address of this machine; only a loopback address keeps others out.
        port: 0 takes a free one.
        token: asked for as a bearer token; ``None`` asks for nothing.
        tls_cert: PEM certificate chain.
        tls_key: its unencrypted PEM key.
        max_connections: more at a time are answered 503; one client may have half of them.
        header_seconds: time a client has to send the headers of a request; then its connection is closed.
        drain_seconds: after the first signal, go on for so long with ``/readyz`` at 503, so that a load balancer
            notices before the socket closes.
        shutdown_seconds: then wait at most so long for requests that were taken.
    """

    host: str = "127.0.0.1"
    port: int = 8085
    token: str | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    max_connections: int = 1024
    header_seconds: float = 10.0
    drain_seconds: float = 0.0
    shutdown_seconds: int = 60
