"""Why a document matched: the latents that made the score, and the words on which each fired."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array

from splare_plugins.config import Side, TopK
from splare_plugins.impacts import latent_term
from splare_plugins.model.encoder import Encoder


@dataclass(frozen=True, kw_only=True)
class LatentMatch:
    """One latent that both texts activate.

    Attributes:
        term: its pseudo-term in the index.
        name: its label, or the pseudo-term again.
        contribution: its part of the score, query impact times document impact.
        share: that part as a fraction of the score.
        query_impact: impact in the query.
        document_impact: impact in the document.
        query_word: the word of the query on which it fired most; empty where that was a special token.
        document_word: likewise of the document.
    """

    term: str
    name: str
    contribution: int
    share: float
    query_impact: int
    document_impact: int
    query_word: str
    document_word: str


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """A score taken apart.

    Attributes:
        score: the integer dot product, which every exact engine returns.
        query_latents: latents of the query.
        document_latents: latents of the document.
        shared_latents: latents of both; their contributions add up to the score.
        matches: the largest contributions, falling.
    """

    score: int
    query_latents: int
    document_latents: int
    shared_latents: int
    matches: list[LatentMatch]

    def to_dict(self) -> dict[str, Any]:
        """The explanation as JSON types."""
        return asdict(self)


def explain(
    model: Encoder,
    query: str,
    document: str,
    *,
    top: int = 10,
    query_top_k: TopK = "model",
    document_top_k: TopK = "model",
) -> Explanation:
    """Take the score of a query and a document apart.

    Args:
        model: a model whose quantiser is calibrated.
        query: the query's text.
        document: the document's text, as it was indexed (title and text joined by a blank).
        top: most matches listed.
        query_top_k: latents kept of the query, where the index was searched with another number than the model's.
        document_top_k: likewise of the document.
    """
    quantizer = model.quantizer
    one = quantizer.queries(model.encode_queries([query], top_k=query_top_k)).impacts
    other = quantizer.documents(model.encode_documents([document], top_k=document_top_k)).impacts
    products = csr_array(one.astype(np.int64).multiply(other))
    order = np.argsort(-products.data, kind="stable")[:top]
    latents = products.indices[order]
    score = int(products.data.sum())
    columns = (
        latents.tolist(),
        *(row.data[np.searchsorted(row.indices, latents)].tolist() for row in (one, other)),
        _words(model, query, "query", latents),
        _words(model, document, "document", latents),
    )
    matches = [
        LatentMatch(
            term=latent_term(latent),
            name=model.head.name(latent),
            contribution=mine * theirs,
            share=mine * theirs / score,
            query_impact=mine,
            document_impact=theirs,
            query_word=query_word,
            document_word=document_word,
        )
        for latent, mine, theirs, query_word, document_word in zip(*columns, strict=True)
    ]
    return Explanation(
        score=score,
        query_latents=one.nnz,
        document_latents=other.nnz,
        shared_latents=products.nnz,
        matches=matches,
    )


def _words(model: Encoder, text: str, side: Side, latents: np.ndarray) -> list[str]:
    """The word around the token on which each latent fired most."""
    if not len(latents):
        return []
    states, spans = model.pooled_tokens(text, side)
    with torch.inference_mode():
        peaks = model.head.peak_tokens(states, torch.from_numpy(latents).long().to(states.device))
    return [_word(text, *spans[peak].tolist()) for peak in peaks.tolist()]


def _word(text: str, start: int, end: int) -> str:
    """Widen a token to its word; scripts written without blanks keep the token, special tokens have no word."""
    if end == 0:
        return ""
    while start < end and text[start].isspace():
        start += 1
    while start > 0 and _joins(text[start - 1]) and (start == end or _joins(text[start])):
        start -= 1
    while end < len(text) and _joins(text[end]) and _joins(text[end - 1]):
        end += 1
    return text[start:end]


def _joins(character: str) -> bool:
    unspaced = "\u0e00" <= character <= "\u0eff" or "\u3040" <= character <= "\u9fff" or character >= "\uf900"
    return (character.isalnum() or character in "'\u2019-_") and not unspaced
