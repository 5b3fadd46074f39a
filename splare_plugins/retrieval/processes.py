"""Workers that are processes of this machine, which share its GPUs, or else its cores."""

from __future__ import annotations

import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import connection, get_context, parent_process, resource_tracker
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from splare_plugins.errors import InputError
from splare_plugins.machine.packages import torch_may_have_gpu
from splare_plugins.machine.threads import set_thread_count, thread_count
from splare_plugins.retrieval.making import Job, make_part
from splare_plugins.retrieval.workers import Advanced, Died, Failed, Made, Message, Ready, Workers

if TYPE_CHECKING:
    from splare_plugins.corpus.parts import PartTask
    from splare_plugins.model.encoder import Encoder

_GPUS = "CUDA_VISIBLE_DEVICES"
Load = Callable[[], "Encoder"]


def local_workers(model: str | Path | Load, count: int, **loading: Any) -> Workers:
    """Processes that make parts of an encoded corpus: the same files, to the byte, as one process makes.

    A program that uses them has its work under ``if __name__ == "__main__"``, as always where Python starts others::

        with local_workers("splare-e5-small", 4) as workers:
            encode_shard(workers, "corpus.jsonl", "encoded")

    Args:
        model: name or folder; or a function that loads a model, which must be importable by its name.
        count: number of processes. Each sees one of the GPUs, in turn, and has its share of the threads.
        **loading: options of ``SplareModel.from_pretrained``.

    Raises:
        InputError: for a count below 1.
    """
    require_some(count)
    load = loader(model, loading)
    return Workers(Processes(load, count, threads=max(1, thread_count() // count), gpus=_visible_gpus()))


def require_some(count: int) -> None:
    """Refuse a number of workers below 1.

    Raises:
        InputError: then.
    """
    if count < 1:
        raise InputError(f"the number of workers must be at least 1, not {count}")


def loader(model: str | Path | Load, loading: dict[str, Any]) -> Load:
    """What gives each worker its model."""
    return model if callable(model) else partial(_load_pretrained, model, **loading)


def _load_pretrained(model: str | Path, **loading: Any) -> Encoder:
    from splare_plugins.model import SplareModel

    return SplareModel.from_pretrained(model, **loading)


def _visible_gpus() -> list[str]:
    if visible := os.environ.get(_GPUS):
        return visible.split(",")
    if not torch_may_have_gpu():
        return []
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


class Processes:
    """A crew of processes.

    Args:
        load: gives each its model.
        size: number of processes.
        threads: of the processor, for each.
        gpus: names that CUDA knows, dealt out in turn.
    """

    def __init__(self, load: Load, size: int, *, threads: int, gpus: list[str]) -> None:
        self.size = size
        self._load, self._threads, self._gpus = load, threads, gpus
        # Neither CUDA nor OpenMP survives a fork.
        self._context = get_context("spawn")
        self._processes: dict[int, BaseProcess] = {}
        self._pipes: dict[int, connection.Connection] = {}

    def start(self, worker: int) -> None:
        """See :class:`Crew`."""
        gpu = self._gpus[worker % len(self._gpus)] if self._gpus else None
        self._pipes[worker], theirs = self._context.Pipe()
        process = self._context.Process(
            target=work,
            args=(theirs, self._load, self._threads, gpu),
            name=f"splare-worker-{worker}",
            daemon=True,
        )
        with _deaf_to_interrupts():
            process.start()
        theirs.close()
        self._processes[worker] = process

    def give(self, worker: int, task: PartTask, job: Job) -> None:
        """See :class:`Crew`."""
        with suppress(BrokenPipeError, ConnectionResetError):  # it is dead, as will be heard
            self._pipes[worker].send((task, job))

    def hear(self) -> Iterator[tuple[int, Message]]:
        """See :class:`Crew`."""
        numbers = {pipe: worker for worker, pipe in self._pipes.items()}
        for pipe in connection.wait(list(numbers)):
            worker = numbers[pipe]  # type: ignore[index]
            try:
                yield worker, self._pipes[worker].recv()
            except (EOFError, OSError):
                yield worker, Died(self._end(worker))

    def stop(self) -> None:
        """See :class:`Crew`."""
        for process in self._processes.values():
            process.kill()
        for worker in list(self._processes):
            self._end(worker)

    def _end(self, worker: int) -> str:
        process = self._processes.pop(worker)
        self._pipes.pop(worker).close()
        process.join()
        code = process.exitcode or 0
        process.close()
        return signal.Signals(-code).name if code < 0 else f"exit status {code}"


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """What is started here does not get Ctrl-C, which a terminal sends to all: the first process ends the others."""
    # Python's own helper process would be started with the first of ours, and lets interrupts in again.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def work(pipe: connection.Connection, load: Load, threads: int, gpu: str | None) -> None:
    """What a worker does: load the model, then make parts until the first process is gone."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if gpu is not None:
        os.environ[_GPUS] = gpu  # before torch looks
    set_thread_count(threads)
    try:
        model = load()
        pipe.send(Ready(model.config))
        while True:
            task, job = pipe.recv()
            pipe.send(Made(make_part(model, task, job, lambda documents: pipe.send(Advanced(documents)))))
    except (EOFError, BrokenPipeError):
        return
    except Exception as error:
        with suppress(BrokenPipeError):
            pipe.send(Failed(portable(error)))


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)


def portable(error: Exception) -> Exception:
    """The error as another process can have it, with the stack trace that ``--debug`` shows."""
    error.add_note(traceback.format_exc())
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError("".join(traceback.format_exception(error)))
    return error
