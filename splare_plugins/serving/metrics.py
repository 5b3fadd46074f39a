"""What Prometheus reads."""

from __future__ import annotations

from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from splare_plugins.config import Side
from splare_plugins.serving.limits import CONTENT_TYPES
from splare_plugins.serving.queue import TokenQueue

_SIZES = [2.0**power for power in range(11)]
_TOKENS = [2.0**power for power in range(4, 18)]
_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120]


class Metrics:
    """The counters of one server, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        counter, gauge, histogram = (partial(kind, registry=self._registry) for kind in (Counter, Gauge, Histogram))
        taken = "From a request's first byte to its answer's last."
        self._requests = counter("splare_requests", "Requests answered.", ["path", "status"])
        self._latency = histogram("splare_request_seconds", taken, ["path"], buckets=_SECONDS)
        self.in_flight = gauge("splare_requests_in_flight", "Requests without an answer yet.")
        self._queue_tokens = gauge("splare_queue_tokens", "Estimated tokens that wait.")
        self._queue_requests = gauge("splare_queue_requests", "Requests that wait.")
        self._texts = counter("splare_texts", "Texts encoded.", ["content_type"])
        self._truncated = counter("splare_texts_truncated", "Texts cut to the model's length.", ["content_type"])
        self._tokens = counter("splare_tokens", "Estimated tokens encoded.", ["content_type"])
        self._batch_requests = histogram("splare_batch_requests", "Requests encoded together.", buckets=_SIZES)
        self._batch_texts = histogram("splare_batch_texts", "Texts encoded together.", buckets=_SIZES)
        self._batch_tokens = histogram("splare_batch_tokens", "Estimated tokens encoded together.", buckets=_TOKENS)
        self._batch_seconds = histogram("splare_batch_seconds", "Time the encoder took for a batch.", buckets=_SECONDS)

    def watch_queue(self, queue: TokenQueue) -> None:
        """Read the two gauges of waiting work from ``queue`` whenever they are asked for."""
        self._queue_tokens.set_function(lambda: queue.tokens)
        self._queue_requests.set_function(lambda: len(queue))

    def answered(self, path: str, status: int, seconds: float) -> None:
        """Count a request; ``path`` must come from a fixed set."""
        self._requests.labels(path, str(status)).inc()
        self._latency.labels(path).observe(seconds)

    def encoded(self, side: Side, *, requests: int, texts: int, truncated: int, tokens: int, seconds: float) -> None:
        """Count a batch."""
        self._texts.labels(CONTENT_TYPES[side]).inc(texts)
        self._truncated.labels(CONTENT_TYPES[side]).inc(truncated)
        self._tokens.labels(CONTENT_TYPES[side]).inc(tokens)
        self._batch_requests.observe(requests)
        self._batch_texts.observe(texts)
        self._batch_tokens.observe(tokens)
        self._batch_seconds.observe(seconds)

    def expose(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self._registry)
