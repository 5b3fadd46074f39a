"""Making one part of an encoded corpus, in whichever process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from splare_plugins.config import TopK
from splare_plugins.machine import Progress
from splare_plugins.retrieval.batches import document_batches

if TYPE_CHECKING:
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
    """Makes one part after the other.

    Args:
        model: what encodes.
    """

    def __init__(self, model: Encoder) -> None:
        self._model = model

    def make(self, tasks: Iterable[PartTask], job: Job, on_progress: Progress | None = None) -> Iterator[MadePart]:
        """The parts that are asked for."""
        for task in tasks:
            yield make_part(self._model, task, job, on_progress)
