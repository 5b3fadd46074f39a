"""The process: its socket, its logs, its signals, its end."""

from __future__ import annotations

import json
import logging
import signal
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn

from splare_plugins.serving.app import create_app
from splare_plugins.serving.limits import Limits, ServerOptions
from splare_plugins.serving.listening import address_of, listen, uvicorn_settings, warn_if_open
from splare_plugins.serving.metrics import Metrics
from splare_plugins.serving.searching import SearchIndex
from splare_plugins.serving.security import require_tls_files
from splare_plugins.serving.service import Service

if TYPE_CHECKING:
    from splare_plugins.serving.service import ServedEncoder

logger = logging.getLogger(__name__)

# Longer than the pools of clients keep an idle connection, so that none sends into one that is being closed.
_KEEP_ALIVE_SECONDS = 75


def serve(
    load: Callable[[str], ServedEncoder],
    devices: Sequence[str],
    limits: Limits,
    options: ServerOptions,
    on_listening: Callable[[str], None],
    index: SearchIndex | None = None,
) -> None:
    """Serve until a signal comes, then finish what was taken.

    ``load`` gives the model on a device; ``on_listening`` is called with the address before it; ``index`` is what the
    search page searches, if there is to be one.

    Raises:
        InputError: if the address or the TLS files cannot be used; and whatever loading a model raises.
    """
    require_tls_files(options.tls_cert, options.tls_key)
    listener = listen(options.host, options.port)
    warn_if_open(options)
    on_listening(address_of(options, listener))
    service = Service(load, devices, limits, Metrics())
    server = build_server(service, options, index)
    with listener:
        server.run(sockets=[listener])
    if service.failure is not None:
        raise service.failure


def build_server(service: Service, options: ServerOptions, index: SearchIndex | None = None) -> DrainingServer:
    """A server of ``service`` that has no socket yet."""

    def give_up() -> None:
        server.should_exit = True

    app = create_app(service, token=options.token, on_failure=give_up, index=index)
    config = uvicorn.Config(app, timeout_keep_alive=_KEEP_ALIVE_SECONDS, **uvicorn_settings(options))
    server = DrainingServer(config, service, options.drain_seconds)
    return server


class DrainingServer(uvicorn.Server):
    """uvicorn's server with a way out in two steps, and status 0 after an orderly end.

    ``drain_seconds`` after the signal, in which the service says that it is no longer ready, the socket closes.
    """

    def __init__(self, config: uvicorn.Config, service: Service, drain_seconds: float) -> None:
        super().__init__(config)
        self._service = service
        self._drain_seconds = drain_seconds
        self._close_at: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal drains; an interrupt after it stops at once."""
        if self._close_at is None:
            self._close_at = time.monotonic() + self._drain_seconds
            self._service.draining = True
        elif sig == signal.SIGINT:
            self.should_exit = self.force_exit = True

    async def on_tick(self, counter: int) -> bool:
        """Called by uvicorn ten times a second."""
        if self._close_at is not None and time.monotonic() >= self._close_at:
            self.should_exit = True
        return await super().on_tick(counter)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and what the call gave as ``extra={"fields": {...}}``."""

    def format(self, record: logging.LogRecord) -> str:
        """The line; texts never appear in it."""
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False, default=str)


def log_as_json() -> None:
    """Send every log record of this process to stderr as JSON."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in ("splare_plugins", "uvicorn"):
        logging.getLogger(name).setLevel(logging.INFO)
    logging.captureWarnings(True)
