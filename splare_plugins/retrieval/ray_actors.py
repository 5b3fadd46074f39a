"""Workers that are actors of Ray, on as many machines as its cluster has."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from splare_plugins.errors import InputError, MissingPartError, SplareError
from splare_plugins.machine.threads import set_thread_count
from splare_plugins.retrieval.making import Job, make_part
from splare_plugins.retrieval.processes import loader, portable, require_some
from splare_plugins.retrieval.workers import Died, Failed, Made, Message, Ready, Workers

if TYPE_CHECKING:
    from splare_plugins.corpus.parts import PartTask
    from splare_plugins.model.encoder import Encoder

LOCAL = "local"
"""The address of a Ray that is started on this machine for the occasion."""


def ray_workers(
    model: str | Path | Callable[[], Encoder], address: str, count: int | None = None, **loading: Any
) -> Workers:
    """Actors that make parts of an encoded corpus, as :func:`splare_plugins.retrieval.processes.local_workers` do.

    This process reads the corpus and writes the parts; the nodes need this package and the model, but not the folder.

    Args:
        model: a name that all nodes know; or a function that loads a model.
        address: of a cluster, as ``ray.init`` takes it, such as ``"auto"``; or ``"local"``.
        count: number of actors; by default one a GPU, or one a node where there is none. Each gets a GPU, or its share
            of one, and its share of the cores.
        **loading: options of ``SplareModel.from_pretrained``.

    Raises:
        InputError: for a count below 1, or if there is no cluster at the address.
        MissingPartError: if Ray is not installed.
    """
    if count is not None:
        require_some(count)
    try:
        import ray
    except ModuleNotFoundError as error:
        raise MissingPartError("Ray is not installed; run: pip install 'splare-plugins[ray]'") from error
    if address == LOCAL:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing leaves this machine
    if not ray.is_initialized():
        try:
            ray.init(address=address, log_to_driver=False, include_dashboard=False if address == LOCAL else None)
        except (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
            reason = str(error).strip().partition("\n")[0].rstrip(".")
            raise InputError(
                f"there is no Ray at {address} ({reason}); start one, or take --ray {LOCAL} for one on this machine"
            ) from error
    return Workers(Actors(loader(model, loading), count))


class PartActor:
    """Loads the model and makes parts; what a worker of Ray runs."""

    def __init__(self, load: Callable[[], Encoder], threads: int) -> None:
        set_thread_count(threads)
        self._load = load
        self._model: Encoder | None = None

    def ready(self) -> Message:
        """Load the model."""
        try:
            self._model = self._load()
        except Exception as error:
            return Failed(portable(error))
        return Ready(self._model.config)

    def make(self, task: PartTask, job: Job) -> Message:
        """Make a part."""
        assert self._model is not None
        try:
            return Made(make_part(self._model, task, job))
        except Exception as error:
            return Failed(portable(error))


class Actors:
    """A crew of actors.

    Args:
        load: gives each its model.
        size: number of actors.
    """

    def __init__(self, load: Callable[[], Encoder], size: int | None) -> None:
        import ray

        self._ray, self._load = ray, load
        resources = ray.cluster_resources()
        gpus = int(resources.get("GPU", 0))
        nodes = sum(node["Alive"] for node in ray.nodes())
        self.size = size or gpus or nodes
        self._cores = max(1, int(resources.get("CPU", 1)) // self.size)
        # A fraction of one GPU, so that as many actors as need be share one.
        self._gpus = min(1, 1 / -(-self.size // gpus)) if gpus else 0
        self._actors: dict[int, Any] = {}
        self._asked: dict[Any, int] = {}

    def start(self, worker: int) -> None:
        """See :class:`Crew`."""
        kind = self._ray.remote(num_cpus=self._cores, num_gpus=self._gpus, max_restarts=0)(PartActor)
        self._actors[worker] = kind.remote(self._load, self._cores)
        self._asked[self._actors[worker].ready.remote()] = worker

    def give(self, worker: int, task: PartTask, job: Job) -> None:
        """See :class:`Crew`."""
        self._asked[self._actors[worker].make.remote(task, job)] = worker

    def hear(self) -> Iterator[tuple[int, Message]]:
        """See :class:`Crew`."""
        if not self._asked:
            raise SplareError("no actor of Ray is at work; give the same command again")
        answered, _ = self._ray.wait(list(self._asked), num_returns=1)
        for reference in answered:
            worker = self._asked.pop(reference)
            try:
                yield worker, self._ray.get(reference)
            except self._ray.exceptions.RayError as error:
                yield worker, Died(str(error).strip().partition("\n")[0].rstrip("."))

    def stop(self) -> None:
        """See :class:`Crew`."""
        for actor in self._actors.values():
            self._ray.kill(actor)
        self._actors.clear()
        self._asked.clear()
