"""Parts of a corpus dealt out to workers: one at a time to each, and again where a worker dies.

How workers are started and heard is their crew's affair: processes of this machine, or actors of Ray.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from splare_plugins.errors import InputError, SplareError
from splare_plugins.machine import Progress
from splare_plugins.machine.overlap import overlapped

if TYPE_CHECKING:
    from splare_plugins.config import SplareConfig
    from splare_plugins.corpus.parts import MadePart, PartTask
    from splare_plugins.retrieval.making import Job

TRIES = 3
"""Workers that may die of one part, or one after the other while they load the model."""


@dataclass(frozen=True)
class Ready:
    """The worker has loaded the model and waits for a part."""

    config: SplareConfig


@dataclass(frozen=True)
class Advanced:
    """The worker has encoded more documents of its part."""

    documents: int


@dataclass(frozen=True)
class Made:
    """The worker has made its part and waits for the next."""

    part: MadePart


@dataclass(frozen=True)
class Failed:
    """The worker met an error, which another one would meet too."""

    error: Exception


@dataclass(frozen=True)
class Died:
    """The worker is gone, with what it was at."""

    why: str


Message = Ready | Advanced | Made | Failed | Died


class Crew(Protocol):
    """A number of workers, numbered from 0; each tells :class:`Ready` first."""

    size: int

    def start(self, worker: int) -> None:
        """Start a worker, or one in the place of one that died."""

    def give(self, worker: int, task: PartTask, job: Job) -> None:
        """Hand a part to a worker that waits."""

    def hear(self) -> Iterable[tuple[int, Message]]:
        """What workers have to tell, with their numbers; waits until there is something."""

    def stop(self) -> None:
        """End all workers, whatever they are at."""


class Workers:
    """Makes parts with a crew; a context manager, which starts and stops it.

    Args:
        crew: whose workers load the same model.
    """

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._config: SplareConfig | None = None
        self._idle: set[int] = set()
        self._busy: dict[int, PartTask] = {}
        self._again: deque[PartTask] = deque()
        self._told: Counter[int] = Counter()  # documents of a part, so that none is told again when it is redone
        self._encoded: Counter[int] = Counter()
        self._deaths: Counter[int | None] = Counter()  # by part; None while the model is loaded

    def __enter__(self) -> Workers:
        try:
            for worker in range(self._crew.size):
                self._crew.start(worker)
        except BaseException:
            self._crew.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._crew.stop()

    @property
    def config(self) -> SplareConfig:
        """The model, as soon as one worker has loaded it.

        Raises:
            SplareError: if it cannot be loaded.
        """
        while self._config is None:
            for worker, message in self._crew.hear():
                self._take(worker, message, None)
        return self._config

    def make(self, tasks: Iterable[PartTask], job: Job, on_progress: Progress | None = None) -> Iterator[MadePart]:
        """The parts that are asked for, in the order in which they are finished.

        Args:
            tasks: read ahead, in a thread, by as many parts as there are workers.
            job: how to make them.
            on_progress: called with the number of documents just encoded.

        Raises:
            InputError: if an error ended what they made before.
            SplareError: if workers died of one part or of loading the model :data:`TRIES` times; or what a worker met.
        """
        if self._busy:
            raise InputError("these workers are still at a corpus that was given up; start others")
        self._told.clear()
        self._encoded.clear()
        self._deaths.clear()
        more = True
        with closing(overlapped(tasks, ahead=self._crew.size)) as stream:
            while True:
                while self._idle and (self._again or more):
                    task = self._again.popleft() if self._again else next(stream, None)
                    if task is None:
                        more = False
                        break
                    worker = self._idle.pop()
                    self._busy[worker] = task
                    self._crew.give(worker, task, job)
                if not (self._busy or self._again or more):
                    return
                for worker, message in self._crew.hear():
                    made = self._take(worker, message, on_progress)
                    if made is not None:
                        yield made

    def _take(self, worker: int, message: Message, on_progress: Progress | None) -> MadePart | None:
        match message:
            case Ready(config):
                self._config = self._config or config
                config.require_same_index(self._config, "the corpus that other workers are encoding")
                del self._deaths[None]
                self._idle.add(worker)
            case Advanced(documents):
                self._advance(self._busy[worker], documents, on_progress)
            case Made(part):
                task = self._busy.pop(worker)
                self._idle.add(worker)
                self._advance(task, len(task.documents) - self._encoded[task.number], on_progress)
                return part
            case Failed(error):
                raise error
            case Died(why):
                self._start_again(worker, why)
        return None

    def _advance(self, task: PartTask, documents: int, on_progress: Progress | None) -> None:
        number = task.number
        self._encoded[number] += documents
        new = self._encoded[number] - self._told[number]
        if new > 0:
            self._told[number] += new
            if on_progress is not None:
                on_progress(new)

    def _start_again(self, worker: int, why: str) -> None:
        self._idle.discard(worker)
        task = self._busy.pop(worker, None)
        number = None if task is None else task.number
        self._deaths[number] += 1
        if self._deaths[number] == TRIES:
            what = "loading the model" if number is None else f"encoding part {number}"
            raise SplareError(
                f"{TRIES} workers died {what} (the last one: {why}); if memory is short, take fewer workers and give "
                "the same command again, which keeps all finished parts"
            )
        if task is not None:
            del self._encoded[task.number]
            self._again.append(task)
        self._crew.start(worker)
