"""What Prometheus reads."""

from __future__ import annotations

from collections.abc import Sized
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from splare_plugins.config import Side
from splare_plugins.serving.schemas import CONTENT_TYPES

_SIZES = [2.0**power for power in range(11)]
_TOKENS = [2.0**power for power in range(4, 18)]
_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120]


class _Queue(Sized, Protocol):
    tokens: int


class Metrics:
    """The counters of one server, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Counter("splare_requests", "Requests answered.", ["path", "status"], registry=registry)
        self._latency = Histogram(
            "splare_request_seconds",
            "From a request's first byte to its answer's last.",
            ["path"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.in_flight = Gauge("splare_requests_in_flight", "Requests without an answer yet.", registry=registry)
        self._queue_tokens = Gauge("splare_queue_tokens", "Estimated tokens that wait.", registry=registry)
        self._queue_requests = Gauge("splare_queue_requests", "Requests that wait.", registry=registry)
        self._texts = Counter("splare_texts", "Texts encoded.", ["content_type"], registry=registry)
        self._tokens = Counter("splare_tokens", "Estimated tokens encoded.", ["content_type"], registry=registry)
        self._batch_requests = Histogram(
            "splare_batch_requests", "Requests encoded together.", buckets=_SIZES, registry=registry
        )
        self._batch_texts = Histogram(
            "splare_batch_texts", "Texts encoded together.", buckets=_SIZES, registry=registry
        )
        self._batch_tokens = Histogram(
            "splare_batch_tokens", "Estimated tokens encoded together.", buckets=_TOKENS, registry=registry
        )
        self._batch_seconds = Histogram(
            "splare_batch_seconds", "Time the encoder took for a batch.", buckets=_SECONDS, registry=registry
        )

    def watch_queue(self, queue: _Queue) -> None:
        """Read the two gauges of waiting work from ``queue`` whenever they are asked for."""
        self._queue_tokens.set_function(lambda: queue.tokens)
        self._queue_requests.set_function(lambda: len(queue))

    def answered(self, path: str, status: int, seconds: float) -> None:
        """Count a request; ``path`` must come from a fixed set."""
        self._requests.labels(path, str(status)).inc()
        self._latency.labels(path).observe(seconds)

    def encoded(self, side: Side, *, requests: int, texts: int, tokens: int, seconds: float) -> None:
        """Count a batch."""
        self._texts.labels(CONTENT_TYPES[side]).inc(texts)
        self._tokens.labels(CONTENT_TYPES[side]).inc(tokens)
        self._batch_requests.observe(requests)
        self._batch_texts.observe(texts)
        self._batch_tokens.observe(tokens)
        self._batch_seconds.observe(seconds)

    def expose(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self._registry)
