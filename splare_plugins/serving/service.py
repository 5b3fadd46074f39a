"""Models at work: one thread and one model a device, fed from one queue."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

from splare_plugins.config import Side, SplareConfig
from splare_plugins.impacts import Quantizer
from splare_plugins.serving.limits import Limits
from splare_plugins.serving.metrics import Metrics
from splare_plugins.serving.queue import Job, Task, TokenQueue, estimate_tokens

if TYPE_CHECKING:  # torch
    from splare_plugins.model.encoder import Encoder
    from splare_plugins.static import StaticQueryEncoder

    ServedEncoder = Encoder | StaticQueryEncoder

logger = logging.getLogger(__name__)

_QUEUED_PASSES = 16
_PASSES_PER_BATCH = 2


class Service:
    """Encodes the texts of many requests together.

    Args:
        load: gives the model on a device; called in the device's thread. The models must be the same but for where
            they run, and share no tokenizer: two threads cannot use one.
        devices: one thread and one model each; naming a device twice gives it two.
        limits: of the queue and of a batch.
        metrics: where work is counted.

    Attributes:
        ready: whether every model is loaded, so that jobs are taken.
        draining: whether it is about to stop.
        failure: why a model could not be loaded.
    """

    def __init__(
        self, load: Callable[[str], ServedEncoder], devices: Sequence[str], limits: Limits, metrics: Metrics
    ) -> None:
        self.limits = limits
        self.metrics = metrics
        self.failure: Exception | None = None
        self.ready = self.draining = False
        self._load = load
        self._threads = [
            threading.Thread(target=self._work, args=(device,), name=f"model-{number}-{device}", daemon=True)
            for number, device in enumerate(devices)
        ]
        self._models: list[ServedEncoder] = []
        self._queue = TokenQueue(limits.queue_tokens or 0, len(devices))
        metrics.watch_queue(self._queue)
        self._all_loaded = threading.Barrier(len(devices), action=self._open)
        self._on_failure: Callable[[], None] = lambda: None

    @property
    def config(self) -> SplareConfig:
        """What defines the model; only when ready."""
        return self._models[0].config

    @property
    def sides(self) -> tuple[Side, ...]:
        """What it encodes: queries and documents, or queries alone; only when ready."""
        return self._models[0].sides

    @property
    def quantizer(self) -> Quantizer:
        """From latent weights to impacts; only when ready."""
        return self._models[0].quantizer

    def start(self, on_failure: Callable[[], None]) -> None:
        """Load the models in the background; ``on_failure`` is called from there if that fails."""
        self._on_failure = on_failure
        for thread in self._threads:
            thread.start()

    def submit(self, texts: Sequence[str], side: Side, top_k: int | None) -> Job:
        """Put texts in the queue; only when ready.

        Raises:
            QueueFullError: if there is no room.
            UnicodeEncodeError: for a lone surrogate.
        """
        how = self.config.side(side)
        job = Job(texts, side, top_k, sum(estimate_tokens(text, how) for text in texts))
        self._queue.put(job)
        return job

    def submit_work(self, work: Callable[[Any], Any], texts: Sequence[str]) -> Task:
        """Put other work of a model in the queue, which will read ``texts``; only when ready.

        Raises:
            QueueFullError: if there is no room.
            UnicodeEncodeError: for a lone surrogate.
        """
        how = self.config.document
        task = Task((), "document", None, sum(estimate_tokens(text, how) for text in texts), work=work)
        self._queue.put(task)
        return task

    def discard(self, job: Job) -> None:
        """Forget a job whose client went away."""
        self._queue.discard(job)

    def stop(self) -> None:
        """Encode what was taken, then end the threads."""
        self.draining = True
        if not self.ready:
            self._all_loaded.abort()
            return
        self._queue.close()
        for thread in self._threads:
            thread.join()

    def _open(self) -> None:
        """Called once, when the last model is there."""
        if self.limits.queue_tokens is None:
            passes = sum(model.pass_tokens for model in self._models)
            self._queue.max_tokens = _QUEUED_PASSES * passes
        self.ready = True
        logger.info("ready: %s", self.config.describe())

    def _work(self, device: str) -> None:
        try:
            model = self._load(device)
            # Scales are needed for every answer; a first pass makes what libraries make lazily.
            _ = model.quantizer
            model.encode(["warm up"], model.sides[-1])
            self._models.append(model)
            logger.info("loaded %s on %s", model.config.name, model.device_type)
            self._all_loaded.wait()
        except threading.BrokenBarrierError:
            return
        except Exception as error:
            self.failure = error
            self._all_loaded.abort()
            self._on_failure()
            return
        batch_tokens = self.limits.batch_tokens or _PASSES_PER_BATCH * model.pass_tokens
        while jobs := self._queue.take(batch_tokens):
            self._run(model, jobs)

    def _run(self, model: ServedEncoder, jobs: list[Job]) -> None:
        """Answer jobs of one kind with one call of the encoder."""
        if isinstance(jobs[0], Task):
            try:
                jobs[0].answer.set_result(jobs[0].work(model))
            except Exception as error:
                jobs[0].answer.set_exception(_without_torch(error))
            return
        side, top_k = jobs[0].kind
        texts = [text for job in jobs for text in job.texts]
        tokens = sum(job.tokens for job in jobs)
        truncated: list[int] = []
        start = time.perf_counter()
        try:
            weights = model.encode(
                texts, side, top_k="model" if top_k is None else top_k, on_truncated=truncated.append
            )
        except Exception as error:
            if len(jobs) == 1:
                jobs[0].answer.set_exception(_without_torch(error))
                return
            # What breaks one request must not break those that happened to come along.
            for job in jobs:
                self._run(model, [job])
            return
        seconds = time.perf_counter() - start
        self._queue.measured(tokens, seconds)
        self.metrics.encoded(
            side, requests=len(jobs), texts=len(texts), truncated=sum(truncated), tokens=tokens, seconds=seconds
        )
        bounds = accumulate((len(job.texts) for job in jobs), initial=0)
        for job, (begin, end) in zip(jobs, pairwise(bounds), strict=True):
            job.answer.set_result(weights[begin:end])


def _without_torch(error: Exception) -> Exception:
    """torch's error by its name, for torch is not imported where a table serves."""
    return MemoryError(str(error)) if type(error).__name__ == "OutOfMemoryError" else error
