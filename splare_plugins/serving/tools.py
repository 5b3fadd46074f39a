"""What ``splare mcp`` offers to agents: search, explanations and latents."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from splare_plugins.config import SIDES, Side, SplareConfig, TopK
from splare_plugins.engines.base import Searcher
from splare_plugins.errors import InputError
from splare_plugins.impacts import latent_id, latent_term
from splare_plugins.model.explanation.words import fired_words
from splare_plugins.retrieval.explain import Comparison, Explainer, explain_hit, require_told
from splare_plugins.serving.answers import (
    Compared,
    Explained,
    Found,
    Latent,
    Result,
    Told,
    differences_of,
    evidence_of,
    latents_of,
    words_of,
)
from splare_plugins.serving.watched import WatchedIndex
from splare_plugins.steering import Weights

if TYPE_CHECKING:  # torch
    from splare_plugins.model.encoder import Encoder
    from splare_plugins.static import StaticQueryEncoder

MOST_RESULTS = 100
MOST_LATENTS = 400
MOST_CHARACTERS = 20_000
"""Of a query; a document that is read here may be as long."""


class Library:
    """An index with its model; what is asked of the index runs in its thread, by :meth:`WatchedIndex.submit`.

    Args:
        index: not started yet.
        load: gives the model of an index, or a table for its queries, by what the index says of it.
    """

    def __init__(
        self, index: WatchedIndex, load: Callable[[SplareConfig | None], Encoder | StaticQueryEncoder]
    ) -> None:
        self.index = index
        index.start()
        try:
            self._model = load(index.config)
            _ = self._model.quantizer  # a model that was never calibrated cannot search
            # What index and model are now; another index of that model may take the place.
            self.description = index.submit(self._described).result()
        except BaseException:
            index.close()
            raise

    def _described(self, searcher: Searcher) -> str:
        return f"{searcher.num_docs:,} documents, encoded by {self._model.config.describe()}"

    def search(
        self,
        searcher: Searcher,
        query: str,
        *,
        k: int,
        evidence: int,
        text_characters: int,
        query_top_k: int | None,
        weights: Weights,
    ) -> Found:
        """The best documents; see :func:`splare_plugins.serving.mcp_server.build` for what is what."""
        _require(k, 1, MOST_RESULTS, "k")
        _require(evidence, 0, MOST_LATENTS, "evidence")
        _require(text_characters, 0, MOST_CHARACTERS, "text_characters")
        explainer = self._explainer(searcher, query, max(evidence, 1), query_top_k, weights)
        text_of = partial(self.index.text, searcher)
        (hits,) = searcher.search(explainer.impacts, k)
        results = []
        for rank, (docid, score) in enumerate(zip(hits.docids, hits.scores.tolist(), strict=True), 1):
            told = None
            if evidence:
                told = explain_hit(searcher, explainer, docid, score=int(score), text_of=text_of)
            text = text_of(docid)
            results.append(
                Result(
                    rank=rank,
                    docid=docid,
                    score=int(score),
                    text=text and text[:text_characters],
                    cut=text is not None and len(text) > text_characters,
                    evidence=[] if told is None else evidence_of(told.matches),
                    notes=[] if told is None else told.notes,
                )
            )
        said = [] if results else ["The index has no document for this query."]
        return Found(results=results, query_latents=latents_of(explainer.latents()), notes=said)

    def explain(
        self,
        searcher: Searcher,
        query: str,
        docid: str,
        *,
        against: str | None,
        latents: int,
        query_top_k: int | None,
        weights: Weights,
    ) -> Explained:
        """Why a document has its score, and why it stands above or below another one."""
        _require(latents, 1, MOST_LATENTS, "latents")
        docids = [docid] if against is None else [docid, against]
        for each in docids:
            if self.index.texts is None:
                require_told(searcher, each)
            elif each not in self.index.texts:
                raise InputError(f"there is no document {each!r} in the corpus that this server was given")
        # Two documents are compared by all their latents.
        explainer = self._explainer(searcher, query, latents if against is None else None, query_top_k, weights)
        told = [explain_hit(searcher, explainer, each, text_of=partial(self.index.text, searcher)) for each in docids]
        if against is None:
            return Explained.of(told[0], docid)
        compared = Comparison.of(*told, top=latents)
        shown, other = compared.above, compared.below
        if told[1].score > told[0].score:
            shown, other = other, shown
        return Explained.of(shown, docid, comparison=_comparison(compared, Told.of(other, against), latents))

    def latents(self, _: Searcher, text: str, *, side: str, top: int) -> list[Latent]:
        """The heaviest latents of a text, read as a query or as a document."""
        _require(top, 1, MOST_LATENTS, "top")
        if side not in SIDES:
            raise InputError(f"side must be {' or '.join(SIDES)}, not {side!r}")
        read: Side = "query" if side == "query" else "document"
        _require_text(text, "text")
        quantizer = self._model.quantizer
        impacts = quantizer.quantize(self._model.encode([text], read), read).impacts
        order = np.argsort(-impacts.data, kind="stable")[:top]
        found, values = impacts.indices[order], impacts.data[order].tolist()
        fired = map(words_of, fired_words(self._model, text, read, found))
        return [
            Latent(latent=latent_term(latent), label=self._model.head.name(latent), impact=impact, words=words)
            for latent, impact, words in zip(found.tolist(), values, fired, strict=True)
        ]

    def named(self, _: Searcher, latents: list[str]) -> list[Latent]:
        """What latents are about, by their ids."""
        width = self._model.config.width
        _require(len(latents), 1, MOST_LATENTS, "the number of latents")
        named = []
        for term in latents:
            latent = latent_id(term)
            if latent >= width:
                raise InputError(f"there is no latent {term}; this model has f0 to f{width - 1}")
            named.append(Latent(latent=term, label=self._model.head.name(latent)))
        return named

    def _explainer(
        self, searcher: Searcher, query: str, top: int | None, query_top_k: int | None, weights: Weights
    ) -> Explainer:
        _require_text(query, "query")
        if query_top_k is not None:
            _require(query_top_k, 1, self._model.config.width, "query_latents")
        kept: TopK = "model" if searcher.config is None else searcher.config.document.top_k
        return Explainer(
            self._model,
            query,
            top=top,
            query_top_k="model" if query_top_k is None else query_top_k,
            document_top_k=kept,
            weights=weights,
        )


def _comparison(compared: Comparison, against: Told, most: int) -> Compared:
    rows = compared.differences
    above, below = compared.above, compared.below
    return Compared(
        above=above.docid or "",
        below=below.docid or "",
        difference=above.score - below.score,
        differing_latents=len(rows),
        differences=differences_of(rows[:most]),
        against=against,
    )


def _require(value: int, least: int, most: int, name: str) -> None:
    if not least <= value <= most:
        raise InputError(f"{name} must be from {least} to {most:,}, not {value:,}")


def _require_text(text: str, name: str) -> None:
    if not text.strip():
        raise InputError(f"the {name} is empty; write what to look for")
    if len(text) > MOST_CHARACTERS:
        raise InputError(f"the {name} has {len(text):,} characters; shorten it to at most {MOST_CHARACTERS:,}")
