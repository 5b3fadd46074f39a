"""Texts to impacts: a corpus in batches, queries at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Literal, Protocol

from scipy.sparse import csr_array

from splare_plugins.config import TopK
from splare_plugins.corpus import Document, EncodedBatch
from splare_plugins.corpus.documents import as_queries
from splare_plugins.machine import Progress

if TYPE_CHECKING:
    from splare_plugins.impacts import Quantizer
    from splare_plugins.model.encoder import EncodedWindow, Encoder


class QueryEncoder(Protocol):
    """What encodes queries: a model, or the table that takes its place."""

    @property
    def quantizer(self) -> Quantizer:
        """Of the model."""

    def encode_queries(
        self, texts: Sequence[str], *, top_k: TopK = "model", on_progress: Progress | None = None
    ) -> csr_array:
        """Latent weights; see ``splare_plugins.model.encoder.Encoder.encode``."""

    def encode(
        self,
        texts: Sequence[str],
        side: Literal["query"],
        *,
        top_k: TopK = "model",
        on_progress: Progress | None = None,
        on_truncated: Progress | None = None,
    ) -> csr_array:
        """Likewise, and how many texts were cut to the model's length."""


def document_batches(
    model: Encoder,
    documents: Iterable[Document],
    *,
    top_k: TopK = "model",
    store_text: bool = False,
    on_progress: Progress | None = None,
) -> Iterator[EncodedBatch]:
    """Encode and quantise a corpus, in order, in bounded memory.

    Args:
        model: a model whose quantiser is calibrated.
        documents: a corpus of any size.
        top_k: latents kept of a document; ``None`` keeps all.
        store_text: pass titles and texts on, for engines that store them.
        on_progress: called with the number of documents just encoded.

    Raises:
        InputError: if the model gives a weight that is NaN, infinite or negative, naming the document.
    """
    stream = model.stream_documents(documents, text=attrgetter("content"), top_k=top_k, on_progress=on_progress)
    yield from quantised(model, stream, store_text=store_text)


def quantised(model: Encoder, windows: Iterable[EncodedWindow], *, store_text: bool) -> Iterator[EncodedBatch]:
    """Windows of documents as a model gives them, with impacts; see :func:`document_batches`."""
    quantizer = model.quantizer
    for items, weights, truncated in windows:
        docids = [document.docid for document in items]
        quantized = quantizer.documents(weights, docids)
        yield EncodedBatch(
            docids=docids,
            impacts=quantized.impacts,
            truncated=truncated,
            clipped=quantized.row_clipped,
            dropped=quantized.row_dropped,
            documents=[{"title": item.title, "text": item.text} for item in items] if store_text else None,
        )


def query_impacts(
    model: QueryEncoder,
    queries: Iterable[tuple[str, str]],
    *,
    top_k: TopK = "model",
    on_progress: Progress | None = None,
    on_truncated: Progress | None = None,
) -> csr_array:
    """Impacts of queries, int32, shape ``(len(queries), width)``; ``on_truncated`` is told how many were cut.

    A query is a pair of its id and its text, such as :class:`~splare_plugins.corpus.Query` is.
    """
    asked = as_queries(queries)
    texts = [query.text for query in asked]
    if on_truncated is None:
        weights = model.encode_queries(texts, top_k=top_k, on_progress=on_progress)
    else:
        weights = model.encode(texts, "query", top_k=top_k, on_progress=on_progress, on_truncated=on_truncated)
    return model.quantizer.queries(weights, [query.qid for query in asked]).impacts
