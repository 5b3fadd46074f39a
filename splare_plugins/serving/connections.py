"""How long a connection may say nothing, and how many of them one client may have."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n"
    b"Content-Length: 34\r\n\r\ntoo many connections of one client"
)


class BoundedProtocol(H11Protocol):  # type: ignore[misc]
    """uvicorn's protocol, which would wait for the headers of a request for ever.

    Args:
        header_seconds: from the opening of a connection, or the first byte of a further request, to the end of its
            headers; then it is closed.
        client_connections: of one address; more are answered 503 and closed, so that a single client cannot take
            those of all.
        **options: uvicorn's own.
    """

    def __init__(self, *, header_seconds: float, client_connections: int, **options: Any) -> None:
        super().__init__(**options)
        self._header_seconds = header_seconds
        self._client_connections = client_connections
        self._waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Called when a client has connected."""
        super().connection_made(transport)
        host = self.client and self.client[0]
        if sum(other.client and other.client[0] == host for other in self.connections) > self._client_connections:
            self.connections.discard(self)
            transport.write(_FULL)
            transport.close()
            return
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Called for whatever comes."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        # While a request is being answered, it is another limit that counts.
        if self.conn.their_state is not h11.IDLE:
            self._stop_waiting()
        elif self._waiting is None:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called at the end."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._waiting = self.loop.call_later(self._header_seconds, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
