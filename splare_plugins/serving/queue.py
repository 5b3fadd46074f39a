"""Requests that wait for a model, bounded by their tokens."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from splare_plugins.config import Side, SideConfig

_BYTES_PER_TOKEN = 4
_SPECIAL_TOKENS = 2
_LONGEST_RETRY = 60


def estimate_tokens(text: str, side: SideConfig) -> int:
    """Tokens of a text, guessed from its UTF-8 bytes: the tokenizer is the model thread's, and cannot be shared.

    Raises:
        UnicodeEncodeError: for a lone surrogate.
    """
    guess = (len(side.prompt) + len(text.encode())) // _BYTES_PER_TOKEN + _SPECIAL_TOKENS
    return min(guess, side.max_length)


@dataclass(eq=False)
class Job:
    """The texts of one request, and the place where their weights will be."""

    texts: Sequence[str]
    side: Side
    top_k: int | None
    """``None`` is the model's own."""
    tokens: int
    """Estimated."""
    answer: Future[Any] = field(default_factory=Future)
    """float32, shape ``(len(texts), width)``; of a task, whatever it gives."""

    @property
    def kind(self) -> tuple[Any, int | None]:
        """Jobs of one kind can share a call of the encoder."""
        return self.side, self.top_k


@dataclass(eq=False, kw_only=True)
class Task(Job):
    """Other work that needs a model's thread; it shares no batch."""

    work: Callable[[Any], Any]

    @property
    def kind(self) -> tuple[Any, int | None]:
        """None is like it."""
        return self, None


class QueueFullError(Exception):
    """No room for a request; in ``retry_after`` seconds there probably is."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(retry_after)
        self.retry_after = retry_after


class TokenQueue:
    """First come, first served; jobs of the first one's kind come along as far as the batch has room.

    At most ``max_tokens`` estimated tokens wait for ``workers`` threads.
    """

    def __init__(self, max_tokens: int, workers: int) -> None:
        self.max_tokens = max_tokens
        self._workers = workers
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._seconds_per_token = 0.0
        self.tokens = 0

    def __len__(self) -> int:
        return len(self._jobs)

    def put(self, job: Job) -> None:
        """Add a job.

        Raises:
            QueueFullError: if its tokens do not fit beside those that wait.
        """
        with self._changed:
            if self.tokens and self.tokens + job.tokens > self.max_tokens:
                seconds = self.tokens * self._seconds_per_token / self._workers
                raise QueueFullError(min(max(1, math.ceil(seconds)), _LONGEST_RETRY))
            self._jobs.append(job)
            self.tokens += job.tokens
            self._changed.notify()

    def take(self, batch_tokens: int) -> list[Job]:
        """Wait for work; an empty list means that the queue was closed and everything in it was taken."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._jobs or self._closed)
                if not self._jobs:
                    return []
                batch = self._pop_batch(batch_tokens)
            # A job whose client went away in this moment is cancelled, and not worth an encoding.
            if running := [job for job in batch if job.answer.set_running_or_notify_cancel()]:
                return running

    def discard(self, job: Job) -> None:
        """Forget a job that nobody waits for any more; one that is being encoded just finishes."""
        with self._changed:
            if job in self._jobs:
                self._jobs.remove(job)
                self.tokens -= job.tokens
        job.answer.cancel()

    def measured(self, tokens: int, seconds: float) -> None:
        """Tell how long a batch took; the next "try again after" is guessed from it."""
        latest = seconds / max(1, tokens)
        with self._changed:
            self._seconds_per_token = (
                0.8 * self._seconds_per_token + 0.2 * latest if self._seconds_per_token else latest
            )

    def close(self) -> None:
        """Let the workers finish what is here and end."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _pop_batch(self, batch_tokens: int) -> list[Job]:
        first = self._jobs.popleft()
        batch, tokens, left = [first], first.tokens, deque[Job]()
        for job in self._jobs:
            if job.kind == first.kind and tokens + job.tokens <= batch_tokens:
                batch.append(job)
                tokens += job.tokens
            else:
                left.append(job)
        self._jobs = left
        self.tokens -= tokens
        return batch
