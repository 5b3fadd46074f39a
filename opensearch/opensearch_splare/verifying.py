"""Finds documents whose vector is not that of their text: changed in part, or fed past the pipeline.

The server does not give vectors back. It is asked for the sum of the impacts of a thousand latents at a time, for
many documents at once, and the sums are compared with those of the texts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array

from opensearch_splare.connection import server_errors
from opensearch_splare.index import SplareIndex
from opensearch_splare.mapping import TEXT_FIELDS
from opensearch_splare.msearch import run_searches
from opensearch_splare.queries import Body, rank_feature, search_body
from splare_plugins.config import TopK, check_count
from splare_plugins.corpus import Document
from splare_plugins.errors import InputError
from splare_plugins.impacts import latent_terms
from splare_plugins.machine import Progress
from splare_plugins.retrieval.indexing import encode_documents

if TYPE_CHECKING:  # torch
    from splare_plugins.model.encoder import Encoder

# Documents of one question; latents of one, so that the clause for the documents has room too.
_DOCUMENTS, _LATENTS = 200, 1000
# Texts that share a batch with others may come out one impact higher or lower, where a weight lies on the edge.
_SHARE, _LEAST = 0.02, 2.0


@dataclass(kw_only=True)
class Verification:
    """What became of the documents that were looked at.

    Attributes:
        checked: documents whose text was encoded and compared.
        without_text: documents that hold no text to compare with.
        different: ids of documents with the vector of another text.
        missing: ids of documents that have a text and no vector.
    """

    checked: int = 0
    without_text: int = 0
    different: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    @property
    def bad(self) -> list[str]:
        """Ids of all documents to index again."""
        return [*self.missing, *self.different]


def verify(
    index: SplareIndex,
    model: Encoder,
    *,
    sample: int | None = 1000,
    top_k: TopK = "model",
    on_progress: Progress | None = None,
) -> Verification:
    """Compare the vectors of an index with those of the texts that it stores.

    Args:
        index: of type ``rank_features``, without passages.
        model: the one that made it.
        sample: so many documents, chosen at random; ``None`` for all.
        top_k: latents kept of a document when it was indexed.
        on_progress: called with the number of documents just looked at.

    Raises:
        InputError: if the index is of another kind, or the server refuses.
        IdentityError: if the index was made with another model.
    """
    card = index.card
    if card.config is not None:
        model.config.require_same_index(card.config, f"the index {index.name!r}")
    card.require_whole_texts(index.name, "this comparison")
    if card.field_type != "rank_features":
        raise InputError(f"the index {index.name!r} has a {card.field_type} field; only rank_features can be verified")
    found = Verification()
    for documents in _batches(_documents(index, sample), _DOCUMENTS):
        texts = [each for each in documents if each.content.strip()]
        found.without_text += len(documents) - len(texts)
        for batch in encode_documents(model, texts, top_k=top_k):
            expected, there = _sums(batch.impacts), _indexed_sums(index, batch.docids, batch.impacts.shape[1])
            total = expected.sum(axis=1)
            wrong = np.abs(expected - there).sum(axis=1) > np.maximum(_LEAST, _SHARE * total)
            for docid, is_wrong, holds in zip(batch.docids, wrong, there.sum(axis=1), strict=True):
                if is_wrong:
                    (found.different if holds else found.missing).append(docid)
            found.checked += len(batch)
        if on_progress is not None:
            on_progress(len(documents))
    return found


def _batches(documents: Iterator[Document], size: int) -> Iterator[list[Document]]:
    while some := list(islice(documents, size)):
        yield some


def _documents(index: SplareIndex, sample: int | None) -> Iterator[Document]:
    """Documents with the texts that the index stores, each once."""
    client, name = index.client, index.name
    source = list(TEXT_FIELDS)
    with server_errors(client, name):
        if sample is not None:
            check_count(sample, "the size of the sample")
            query: Body = {"function_score": {"random_score": {}, "query": {"match_all": {}}}}
            body: Body = {"size": min(sample, index.limits.max_hits), "query": query, "_source": source}
            hits = client.search(index=name, body=body, params={"search_pipeline": "_none"})["hits"]["hits"]
            yield from map(_document, hits)
            return
        pages: dict[str, Any] = client.search(
            index=name,
            body={"size": _DOCUMENTS, "sort": ["_doc"], "_source": source},
            params={"scroll": "10m", "search_pipeline": "_none"},
        )
        try:
            while hits := pages["hits"]["hits"]:
                yield from map(_document, hits)
                pages = client.scroll(body={"scroll_id": pages["_scroll_id"], "scroll": "10m"})
        finally:
            client.clear_scroll(body={"scroll_id": [pages["_scroll_id"]]})


def _document(hit: dict[str, Any]) -> Document:
    title, text = (hit.get("_source", {}).get(name) or "" for name in TEXT_FIELDS)
    return Document(hit["_id"], text, title)


def _sums(impacts: csr_array) -> np.ndarray:
    """Of each row the sums of the impacts of each thousand latents."""
    chunks = -(-impacts.shape[1] // _LATENTS)
    sums = np.zeros((impacts.shape[0], chunks))
    rows = np.repeat(np.arange(impacts.shape[0]), np.diff(impacts.indptr))
    np.add.at(sums, (rows, impacts.indices // _LATENTS), impacts.data)
    return sums


def _indexed_sums(index: SplareIndex, docids: list[str], width: int) -> np.ndarray:
    """The same of what is indexed; a document that is gone meanwhile has none."""
    bodies: list[Body | None] = []
    for start in range(0, width, _LATENTS):
        terms = latent_terms(width)[start : start + _LATENTS].tolist()
        query = rank_feature(index.card.field, dict.fromkeys(terms, 1.0))
        body = {"bool": {"should": [query], "filter": [{"ids": {"values": docids}}]}}
        bodies.append(search_body(body, len(docids), pipelines_known=index.pipelines_known))
    sums = np.zeros((len(docids), len(bodies)))
    rows = {docid: row for row, docid in enumerate(docids)}
    for column, hits in enumerate(run_searches(index.client, index.name, bodies, preference="_primary")):
        sums[[rows[docid] for docid in hits.docids], column] = hits.scores
    return sums
