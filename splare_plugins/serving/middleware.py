"""Around every request: an id, one log line, the counters, and an answer when something unforeseen happens."""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Collection, MutableMapping
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from splare_plugins.serving.metrics import Metrics

logger = logging.getLogger("splare_plugins.serving.access")

CLIENT_GONE = 499
_UNFORESEEN = "the server failed on this request; its log has the request id and the reason"
_USABLE_ID = re.compile(r"[\w.:-]{1,64}", re.ASCII)


class Observe:
    """Pure ASGI, so that the application underneath still sees its client go away.

    Requests are counted in ``metrics``, those of ``paths`` by name and all others as one.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics, paths: Collection[str]) -> None:
        self.app = app
        self._metrics = metrics
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _USABLE_ID.fullmatch(given) else uuid.uuid4().hex
        fields: dict[str, Any] = {"request_id": request_id, "method": scope["method"], "path": scope["path"]}
        # The application adds what it knows of the work.
        scope.setdefault("state", {})["fields"] = fields
        status = 0
        start = time.perf_counter()

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), (b"x-request-id", request_id.encode())]
            await send(message)

        with self._metrics.in_flight.track_inprogress():
            try:
                await self.app(scope, receive, send_on)
            except asyncio.CancelledError:
                # Only an end that took too long does this.
                if not status:
                    await JSONResponse({"detail": "the server is shutting down"}, 503)(scope, receive, send_on)
            except Exception:
                logger.exception("request failed", extra={"fields": fields})
                if not status:
                    await JSONResponse({"detail": _UNFORESEEN}, 500)(scope, receive, send_on)
            finally:
                seconds = time.perf_counter() - start
                path = scope["path"] if scope["path"] in self._paths else "other"
                self._metrics.answered(path, status or CLIENT_GONE, seconds)
                self._log(scope, fields, status or CLIENT_GONE, seconds)

    def _log(self, scope: Scope, fields: MutableMapping[str, Any], status: int, seconds: float) -> None:
        client = scope.get("client")
        fields.update(status=status, milliseconds=round(seconds * 1000, 1), client=client[0] if client else None)
        # Probes come every few seconds, and what they are told is not news.
        probe = scope["path"] in ("/healthz", "/readyz", "/metrics") and status in (200, 503)
        logger.log(logging.DEBUG if probe else logging.INFO, "request", extra={"fields": fields})
