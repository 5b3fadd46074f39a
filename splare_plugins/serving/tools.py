"""What ``splare mcp`` offers to agents: search, explanations and latents, as plain values.

An index and its model stand in a thread of their own, since some engines know the thread that opened them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from splare_plugins.config import SIDES, Side, SplareConfig, TopK
from splare_plugins.engines.base import Searcher
from splare_plugins.errors import InputError
from splare_plugins.impacts import latent_id, latent_term
from splare_plugins.model.encoder import Encoder
from splare_plugins.model.explanation.words import fired_words
from splare_plugins.retrieval.explain import (
    Explainer,
    Explanation,
    Firing,
    LatentMatch,
    explain_hit,
    require_told,
    stored_text,
)
from splare_plugins.steering import Weights

Answer = TypeVar("Answer")
MOST_RESULTS = 100
MOST_LATENTS = 400
MOST_CHARACTERS = 20_000
"""Of a query; a document that is read here may be as long."""
_MOST_WORDS = 8
_MOST_WAITING = 64


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """A latent that query and document share.

    Attributes:
        latent: its id.
        label: what it is about, where that is known, else its id again.
        contribution: its part of the score.
        share: that part as a fraction of the score.
        query_words: words of the query on which it fired, strongest first.
        document_words: likewise of the document.
    """

    latent: str
    label: str
    contribution: int
    share: float
    query_words: list[str]
    document_words: list[str]


@dataclass(frozen=True, kw_only=True)
class Latent:
    """A latent of one text, or what is known of it by itself.

    Attributes:
        latent: its id.
        label: what it is about, where that is known, else its id again.
        impact: its whole weight in the text, 1 to 255.
        words: on which it fired, strongest first.
    """

    latent: str
    label: str
    impact: int | None = None
    words: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Result:
    """A document that was found.

    Attributes:
        rank: from 1.
        docid: its id.
        score: the whole number by which it is ranked.
        text: the beginning of its text; null where the index keeps none.
        cut: whether the text goes on.
        evidence: the latents that count most.
        notes: sentences about what is not shown, and why.
    """

    rank: int
    docid: str
    score: int
    text: str | None
    cut: bool
    evidence: list[Evidence]
    notes: list[str]


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a search answers.

    Attributes:
        results: the best first.
        query_latents: what the query was taken for: its latents, after steering, the heaviest first.
        notes: sentences about the search.
    """

    results: list[Result]
    query_latents: list[Latent]
    notes: list[str]


@dataclass(frozen=True, kw_only=True)
class Explained:
    """Why a document has its score.

    Attributes:
        docid: of the document.
        score: its score.
        shared_latents: how many latents both have; their contributions add up to the score.
        evidence: the largest contributions.
        missing: latents of the query that the document lacks, the heaviest first.
        notes: sentences about what is not shown, and why.
    """

    docid: str
    score: int
    shared_latents: int
    evidence: list[Evidence]
    missing: list[Latent]
    notes: list[str]


class Library:
    """An open index with its model.

    Args:
        open_searcher: opens the index.
        load: gives the model of an index, by what the index says of it.
        texts: by id, where the index keeps none, or other ones.
    """

    def __init__(
        self,
        open_searcher: Callable[[], Searcher],
        load: Callable[[SplareConfig | None], Encoder],
        *,
        texts: Mapping[str, str] | None = None,
    ) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="search")
        self._texts = texts
        self._waiting = 0
        try:
            self._searcher, self._model = self._thread.submit(lambda: _opened(open_searcher, load)).result()
        except BaseException:
            self._thread.shutdown()
            raise
        kept: TopK = "model"
        if self._searcher.config is not None:
            kept = self._searcher.config.document.top_k
        self._document_top_k = kept

    def close(self) -> None:
        """Close the index, in its thread."""
        self._thread.submit(self._searcher.close).result()
        self._thread.shutdown()

    def describe(self) -> str:
        """A sentence about the index."""
        return f"{self._searcher.num_docs:,} documents, encoded by {self._model.config.describe()}"

    def submit(self, work: Callable[[], Answer]) -> Future[Answer]:
        """Do something in the index's thread.

        Raises:
            InputError: if too much waits there already.
        """
        if self._waiting >= _MOST_WAITING:
            raise InputError(f"{_MOST_WAITING} calls are waiting; try again in a moment")
        self._waiting += 1
        future = self._thread.submit(work)
        future.add_done_callback(self._done)
        return future

    def _done(self, _: object) -> None:
        self._waiting -= 1

    def search(
        self,
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
        explainer = self._explainer(query, max(evidence, 1), query_top_k, weights)
        (hits,) = self._searcher.search(explainer.impacts, k)
        results = []
        for rank, (docid, score) in enumerate(zip(hits.docids, hits.scores.tolist(), strict=True), 1):
            told = None
            if evidence:
                told = explain_hit(self._searcher, explainer, docid, score=int(score), text_of=self._text_of)
            text = self._text(docid)
            results.append(
                Result(
                    rank=rank,
                    docid=docid,
                    score=int(score),
                    text=text and text[:text_characters],
                    cut=text is not None and len(text) > text_characters,
                    evidence=[] if told is None else [_evidence(match) for match in told.matches],
                    notes=[] if told is None else told.notes,
                )
            )
        said = [] if results else ["The index has no document for this query."]
        return Found(results=results, query_latents=_latents(explainer.latents()), notes=said)

    def explain(self, query: str, docid: str, *, latents: int, query_top_k: int | None, weights: Weights) -> Explained:
        """Why a document has its score."""
        _require(latents, 1, MOST_LATENTS, "latents")
        if self._texts is None:
            require_told(self._searcher, docid)
        elif docid not in self._texts:
            raise InputError(f"there is no document {docid!r} in the corpus that this server was given")
        explainer = self._explainer(query, latents, query_top_k, weights)
        told: Explanation = explain_hit(self._searcher, explainer, docid, text_of=self._text_of)
        return Explained(
            docid=docid,
            score=told.score,
            shared_latents=told.shared_latents,
            evidence=[_evidence(match) for match in told.matches],
            missing=_latents(told.missing),
            notes=told.notes,
        )

    def latents(self, text: str, *, side: str, top: int) -> list[Latent]:
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
        fired = fired_words(self._model, text, read, found)
        return [
            Latent(latent=latent_term(latent), label=self._model.head.name(latent), impact=impact, words=_words(words))
            for latent, impact, words in zip(found.tolist(), values, fired, strict=True)
        ]

    def named(self, latents: list[str]) -> list[Latent]:
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

    def _explainer(self, query: str, top: int, query_top_k: int | None, weights: Weights) -> Explainer:
        _require_text(query, "query")
        if query_top_k is not None:
            _require(query_top_k, 1, self._model.config.width, "query_latents")
        return Explainer(
            self._model,
            query,
            top=top,
            query_top_k="model" if query_top_k is None else query_top_k,
            document_top_k=self._document_top_k,
            weights=weights,
        )

    def _text_of(self, docid: str) -> str | None:
        return self._text(docid)

    def _text(self, docid: str) -> str | None:
        return stored_text(self._searcher, docid) if self._texts is None else self._texts.get(docid)


def _opened(
    open_searcher: Callable[[], Searcher], load: Callable[[SplareConfig | None], Encoder]
) -> tuple[Searcher, Encoder]:
    searcher = open_searcher()
    try:
        model = load(searcher.config)
        _ = model.quantizer  # a model that was never calibrated cannot search
    except BaseException:
        searcher.close()
        raise
    return searcher, model


def _require(value: int, least: int, most: int, name: str) -> None:
    if not least <= value <= most:
        raise InputError(f"{name} must be from {least} to {most:,}, not {value:,}")


def _require_text(text: str, name: str) -> None:
    if not text.strip():
        raise InputError(f"the {name} is empty; write what to look for")
    if len(text) > MOST_CHARACTERS:
        raise InputError(f"the {name} has {len(text):,} characters; shorten it to at most {MOST_CHARACTERS:,}")


def _evidence(match: LatentMatch) -> Evidence:
    return Evidence(
        latent=match.term,
        label=match.name,
        contribution=match.contribution,
        share=round(match.share, 4),
        query_words=_words(match.query_words),
        document_words=_words(match.document_words),
    )


def _latents(matches: list[LatentMatch]) -> list[Latent]:
    return [
        Latent(latent=each.term, label=each.name, impact=each.query_impact, words=_words(each.query_words))
        for each in matches
    ]


def _words(firings: list[Firing]) -> list[str]:
    """Each word once; special tokens have none."""
    return list(dict.fromkeys(each.word for each in firings if each.word))[:_MOST_WORDS]
