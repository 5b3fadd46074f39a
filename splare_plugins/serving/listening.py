"""Where a server listens, within which limits, and what to warn about."""

from __future__ import annotations

import logging
import socket
from functools import partial
from typing import Any

from splare_plugins.errors import InputError
from splare_plugins.serving.connections import BoundedProtocol
from splare_plugins.serving.limits import ServerOptions
from splare_plugins.serving.security import is_loopback

logger = logging.getLogger(__name__)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        InputError: if the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"cannot listen on {host}, port {port}: {reason}; choose others with --host and --port (0: any free one)"
        ) from error


def address_of(options: ServerOptions, listener: socket.socket) -> str:
    """The address under which clients find a server."""
    scheme = "http" if options.tls_cert is None else "https"
    host = f"[{options.host}]" if ":" in options.host else options.host
    return f"{scheme}://{host}:{listener.getsockname()[1]}"


def uvicorn_settings(options: ServerOptions) -> dict[str, Any]:
    """What each server here asks of uvicorn: bounded connections, TLS, and no logs or headers of its own."""
    protocol = partial(
        BoundedProtocol,
        header_seconds=options.header_seconds,
        client_connections=max(1, options.max_connections // 2),
    )
    return {
        "http": protocol,
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "ws": "none",
        "lifespan": "on",
        "proxy_headers": False,
        "limit_concurrency": options.max_connections,
        "timeout_graceful_shutdown": options.shutdown_seconds,
        "ssl_certfile": options.tls_cert,
        "ssl_keyfile": options.tls_key,
    }


def warn_if_open(options: ServerOptions) -> None:
    """Say so if other machines reach a server that asks for nothing or does not encrypt."""
    if is_loopback(options.host):
        return
    lacking = [name for name, value in (("a token", options.token), ("TLS", options.tls_cert)) if value is None]
    if lacking:
        logger.warning(
            "%s can be reached from other machines, without %s", options.host, " and without ".join(lacking)
        )
