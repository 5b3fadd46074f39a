"""A model without a network (words are latents, their counts are weights), and a writer without an engine."""

from __future__ import annotations

import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_array

from splare_plugins.config import SideConfig, SplareConfig
from splare_plugins.corpus import EncodedBatch
from splare_plugins.engines import IndexWriter
from splare_plugins.impacts import Quantizer

WIDTH = 1000
MAX_WORDS = 8


class Window(NamedTuple):
    """Stands in for ``EncodedWindow``, whose module imports torch."""

    items: list[Any]
    weights: csr_array
    truncated: np.ndarray


class FakeModel:
    """Stands in for ``SplareModel`` where only its interface matters."""

    runs_ahead = False

    def __init__(self, *, name: str = "fake", scale: float = 100.0, window: int = 3) -> None:
        self.config = SplareConfig(
            name=name,
            revision="1",
            backbone=name,
            width=WIDTH,
            query=SideConfig(top_k=40, scale=100.0),
            document=SideConfig(top_k=400, scale=scale),
        )
        self.quantizer = Quantizer.from_config(self.config)
        self.window = window
        self.texts: list[str] = []

    def stream_documents(
        self,
        items: Iterable[Any],
        *,
        text: Callable[[Any], str] = str,
        top_k: Any = "model",
        window: int = 0,
        on_progress: Callable[[int], None] | None = None,
    ) -> Iterator[Window]:
        stream = iter(items)
        while held := list(islice(stream, window or self.window)):
            texts = [text(item) for item in held]
            self.texts += texts
            truncated = np.array([len(each.split()) > MAX_WORDS for each in texts], dtype=bool)
            if on_progress is not None:
                on_progress(len(held))
            yield Window(held, self.encode(texts), truncated)

    def encode_queries(self, texts: Sequence[str], *, top_k: Any = "model", on_progress: Any = None) -> csr_array:
        return self.encode(texts)

    def encode(self, texts: Sequence[str]) -> csr_array:
        dense = np.zeros((len(texts), WIDTH), dtype=np.float32)
        for row, text in enumerate(texts):
            for word, count in Counter(text.lower().split()[:MAX_WORDS]).items():
                dense[row, zlib.crc32(word.encode()) % WIDTH] += float("nan") if word == "nan" else count
        return csr_array(dense)


class RecordingWriter(IndexWriter):
    """Remembers what it was given, and from which thread."""

    def __init__(self) -> None:
        self.docids: list[str] = []
        self.documents: list[Mapping[str, Any] | None] = []
        self.threads: set[int] = set()
        self.ended = ""

    def add(
        self, docids: Sequence[str], impacts: csr_array, documents: Sequence[Mapping[str, Any]] | None = None
    ) -> None:
        self.threads.add(threading.get_ident())
        self.docids += docids
        self.documents += documents or [None] * len(docids)

    def commit(self) -> None:
        self.ended = "committed"

    def abort(self) -> None:
        self.ended = "aborted"


def batch(*docids: str) -> EncodedBatch:
    """Documents of three latents each."""
    none = np.zeros(len(docids), dtype=np.int32)
    impacts = csr_array(np.ones((len(docids), 3), dtype=np.int32))
    return EncodedBatch(docids=list(docids), impacts=impacts, truncated=none > 0, clipped=none, dropped=none)
