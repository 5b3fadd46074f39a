"""The index of a search page: ranked by latents and by words, within a budget."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from splare_plugins.engines.base import Hits, Searcher
from splare_plugins.errors import InputError
from splare_plugins.impacts import from_dicts, to_dicts
from splare_plugins.retrieval.explain import text_of_stored
from splare_plugins.serving.watched import WatchedIndex
from splare_plugins.serving.words import MOST_DOCUMENTS, WordIndex


@dataclass(frozen=True, kw_only=True)
class Found:
    """What the index answered.

    Attributes:
        hits: by latents.
        words: ids and scores by BM25; ``None`` where it was not asked for, or there are no texts.
        texts: of all these documents, where they are known.
        seconds: that the search by latents took.
        postings: impacts that it read, where the engine tells.
        impacts: of the whole index, within the document budget, where the engine tells.
        version: of the index.
    """

    hits: Hits
    words: list[tuple[str, float]] | None
    texts: dict[str, str | None]
    seconds: float
    postings: int | None
    impacts: int | None
    version: str


class SearchIndex(WatchedIndex):
    """What a page asks of an index; the arguments are those of :class:`WatchedIndex`."""

    def __init__(
        self, location: str, open_searcher: Callable[[], Searcher], *, texts: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(location, open_searcher, texts=texts)
        self._narrowed: dict[int, Searcher] = {}
        self._words: WordIndex | None = None

    def renewed(self) -> None:
        """See :meth:`WatchedIndex.renewed`."""
        self._narrowed, self._words = {}, None

    def facts(self) -> Future[dict[str, Any]]:
        """What a page says of the index, and what it can offer."""
        return self.submit(self._facts)

    def search(
        self, impacts: csr_array, query: str, k: int, *, document_top_k: int | None, words: bool
    ) -> Future[Found]:
        """The best ``k`` documents by latents, and by words.

        Args:
            impacts: of the query, shape ``(1, width)``.
            query: its text.
            k: most documents of each list.
            document_top_k: latents of a document that count; ``None`` for all that are indexed.
            words: whether BM25 is asked too.
        """
        return self.submit(lambda searcher: self._search(searcher, impacts, query, k, document_top_k, words))

    def known(
        self, docids: list[str], version: str | None, document_top_k: int | None
    ) -> Future[list[tuple[str | None, csr_array | None]]]:
        """Text and impacts of documents, as far as they are known.

        Raises (when it is asked for its result):
            IndexReplacedError: if the index is no longer of that ``version``.
            InputError: for a document of which neither is known.
        """
        return self.submit(lambda searcher: self._known(searcher, docids, version, document_top_k))

    def _facts(self, searcher: Searcher) -> dict[str, Any]:
        top_k = searcher.config.document.top_k if searcher.config else None
        return {
            "location": Path(self.location).name or self.location,
            "documents": searcher.num_docs,
            "impacts": searcher.num_impacts(),
            "document_top_k": top_k,
            "document_budget": searcher.narrows and top_k is not None,
            "words": self._ranks_words(searcher),
            "version": self.version,
        }

    def _search(
        self, searcher: Searcher, impacts: csr_array, query: str, k: int, document_top_k: int | None, words: bool
    ) -> Found:
        asked = self._within(searcher, document_top_k)
        begin = time.perf_counter()
        (hits,) = asked.search(impacts, k)
        seconds = time.perf_counter() - begin
        by_words = self._by_words(searcher, query, k) if words else None
        docids = dict.fromkeys([*hits.docids, *(docid for docid, _ in by_words or ())])
        frequencies = [asked.document_frequency(term) for term in to_dicts(impacts)[0]]
        return Found(
            hits=hits,
            words=by_words,
            texts={docid: self.text(searcher, docid) for docid in docids},
            seconds=seconds,
            postings=None if None in frequencies else sum(each for each in frequencies if each),
            impacts=asked.num_impacts(),
            version=self.version,
        )

    def _known(
        self, searcher: Searcher, docids: list[str], version: str | None, document_top_k: int | None
    ) -> list[tuple[str | None, csr_array | None]]:
        if version not in (None, self.version):
            raise IndexReplacedError
        asked, known = self._within(searcher, document_top_k), []
        for docid in docids:
            text, vector = self.text(searcher, docid), asked.vector(docid)
            if text is None and vector is None:
                raise InputError(
                    f"nothing but its score is known of the document {docid!r}: the index keeps neither texts nor "
                    "impacts; serve it with --corpus"
                )
            width = self.config.width if self.config else 0
            known.append((text, from_dicts([vector], width) if vector is not None and width else None))
        return known

    def _within(self, searcher: Searcher, top_k: int | None) -> Searcher:
        """The index within a document budget."""
        if top_k is None or (searcher.config is not None and searcher.config.document.top_k == top_k):
            return searcher
        if top_k not in self._narrowed:
            narrowed = searcher.narrowed(top_k)
            if narrowed is None:
                raise InputError(
                    "this engine cannot look at fewer latents of a document than it has indexed; index anew with "
                    "--top-k, or take the engine memory"
                )
            # Each is a copy of the index.
            self._narrowed = {top_k: narrowed}
        return self._narrowed[top_k]

    def _ranks_words(self, searcher: Searcher) -> bool:
        return (self.texts is None and searcher.ranks_words) or self._takes_words(searcher)

    def _takes_words(self, searcher: Searcher) -> bool:
        """Whether an index of words can be made here."""
        few = searcher.num_docs <= MOST_DOCUMENTS
        return few and (self.texts is not None or searcher.documents() is not None)

    def _by_words(self, searcher: Searcher, query: str, k: int) -> list[tuple[str, float]] | None:
        # The engine's own index of words is of the texts that it keeps.
        if self.texts is None and (hits := searcher.search_words(query, k)) is not None:
            return list(zip(hits.docids, hits.scores.tolist(), strict=True))
        if not self._takes_words(searcher):
            return None
        if self._words is None:
            texts = self.texts
            if texts is None:
                texts = {docid: text_of_stored(docid, raw) for docid, raw in searcher.documents() or ()}
            self._words = WordIndex(list(texts), list(texts.values()))
        return self._words.search(query, k)


class IndexReplacedError(Exception):
    """Another index stands where the one stood that a page knows."""


def hit_list(pairs: list[tuple[str, float]], texts: Mapping[str, str | None]) -> list[dict[str, Any]]:
    """Documents as a page shows them."""
    return [{"docid": docid, "score": score, "text": texts[docid]} for docid, score in pairs]


def scores(hits: Hits) -> list[tuple[str, float]]:
    """Ids and whole scores."""
    return list(zip(hits.docids, np.rint(hits.scores).astype(np.int64).tolist(), strict=True))
