"""Making one part of an encoded corpus, in whichever process."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import closing
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from splare_plugins.config import TopK
from splare_plugins.machine import Progress
from splare_plugins.machine.overlap import overlapped
from splare_plugins.retrieval.batches import document_batches, quantised

if TYPE_CHECKING:
    from splare_plugins.corpus import Document, EncodedBatch
    from splare_plugins.corpus.parts import MadePart, PartTask
    from splare_plugins.model.encoder import Encoder


class Job(NamedTuple):
    """How all parts are made.

    Attributes:
        top_k: latents kept of a document; ``None`` keeps all.
        store_text: whether parts keep titles and texts.
    """

    top_k: TopK
    store_text: bool


def make_part(model: Encoder, task: PartTask, job: Job, on_progress: Progress | None = None) -> MadePart:
    """Encode a part's documents; batches are cut within the part alone, so that it is the same wherever it is made."""
    from splare_plugins.corpus.parts import made_part

    batches = document_batches(
        model, task.documents, top_k=job.top_k, store_text=job.store_text, on_progress=on_progress
    )
    return made_part(task, batches, model.config)


class InThisProcess:
    """Makes one part after the other; while a GPU encodes one, the next is tokenised and the last is written.

    Args:
        model: what encodes.
    """

    def __init__(self, model: Encoder) -> None:
        self._model = model

    def make(self, tasks: Iterable[PartTask], job: Job, on_progress: Progress | None = None) -> Iterator[MadePart]:
        """The parts that are asked for; on a GPU ``tasks`` are read ahead in a thread, and the same parts are made."""
        if not self._model.runs_ahead:
            for task in tasks:
                yield make_part(self._model, task, job, on_progress)
            return
        from splare_plugins.corpus.parts import made_part

        with closing(overlapped(self._encoded(tasks, job, on_progress), ahead=1)) as stream:
            for task, batches in stream:
                yield made_part(task, batches, self._model.config)

    def _encoded(
        self, tasks: Iterable[PartTask], job: Job, on_progress: Progress | None
    ) -> Iterator[tuple[PartTask, list[EncodedBatch]]]:
        """Each task with its documents encoded, of which no window reaches into another part."""
        begun: deque[PartTask] = deque()
        size = self._model.window

        def windows() -> Iterator[list[Document]]:
            for task in tasks:
                begun.append(task)
                for start in range(0, len(task.documents), size):
                    yield list(task.documents[start : start + size])

        stream = self._model.stream_windows(
            windows(), text=attrgetter("content"), top_k=job.top_k, on_progress=on_progress
        )
        batches: list[EncodedBatch] = []
        for batch in quantised(self._model, stream, store_text=job.store_text):
            batches.append(batch)
            if sum(map(len, batches)) == len(begun[0].documents):
                yield begun.popleft(), batches
                batches = []
