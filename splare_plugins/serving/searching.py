"""The index of a search page, in a thread of its own: some engines know the thread that opened them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from scipy.sparse import csr_array

from splare_plugins.config import SplareConfig
from splare_plugins.engines.base import Hits, Searcher
from splare_plugins.errors import IdentityError, InputError
from splare_plugins.impacts import from_dicts, to_dicts
from splare_plugins.retrieval.explain import stored_text, text_of_stored
from splare_plugins.serving.words import MOST_DOCUMENTS, WordIndex

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")
_MOST_WAITING = 64


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


class SearchIndex:
    """Opens an index, and opens it anew when somebody replaced it.

    Args:
        location: folder of the index, or its address.
        open_searcher: opens it.
        texts: by id, where the index keeps none, or other ones.

    Attributes:
        location: as it was given.
    """

    def __init__(
        self, location: str, open_searcher: Callable[[], Searcher], *, texts: Mapping[str, str] | None = None
    ) -> None:
        self.location = location
        self._open_searcher = open_searcher
        self._texts = texts
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="search")
        self._room = threading.BoundedSemaphore(_MOST_WAITING)
        self._searcher: Searcher | None = None
        self._version = ""
        self._narrowed: dict[int, Searcher] = {}
        self._words: WordIndex | None = None
        self.config: SplareConfig | None = None

    def start(self) -> None:
        """Open the index; raises what opening it raises."""
        self._thread.submit(self._current).result()

    def close(self) -> None:
        """Close it, in its thread."""
        if self._searcher is not None:
            self._thread.submit(self._searcher.close).result()
        self._thread.shutdown()

    def facts(self) -> Future[dict[str, Any]]:
        """What a page says of the index, and what it can offer."""
        return self._submit(self._facts)

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
        return self._submit(lambda: self._search(impacts, query, k, document_top_k, words))

    def known(
        self, docids: list[str], version: str | None, document_top_k: int | None
    ) -> Future[list[tuple[str | None, csr_array | None]]]:
        """Text and impacts of documents, as far as they are known.

        Raises (when it is asked for its result):
            IndexReplacedError: if the index is no longer of that ``version``.
            InputError: for a document of which neither is known.
        """
        return self._submit(lambda: self._known(docids, version, document_top_k))

    def _submit(self, work: Callable[[], Answer]) -> Future[Answer]:
        if not self._room.acquire(blocking=False):
            raise SearchBusyError
        future = self._thread.submit(work)
        future.add_done_callback(lambda _: self._room.release())
        return future

    def _facts(self) -> dict[str, Any]:
        searcher = self._current()
        top_k = searcher.config.document.top_k if searcher.config else None
        return {
            "location": Path(self.location).name or self.location,
            "documents": searcher.num_docs,
            "impacts": searcher.num_impacts(),
            "document_top_k": top_k,
            "document_budget": searcher.narrows and top_k is not None,
            "words": self._has_words(),
            "version": self._version,
        }

    def _search(self, impacts: csr_array, query: str, k: int, document_top_k: int | None, words: bool) -> Found:
        searcher = self._current()
        asked = self._within(document_top_k)
        begin = time.perf_counter()
        (hits,) = asked.search(impacts, k)
        seconds = time.perf_counter() - begin
        by_words = self._by_words(query, k) if words else None
        docids = dict.fromkeys([*hits.docids, *(docid for docid, _ in by_words or ())])
        frequencies = [asked.document_frequency(term) for term in to_dicts(impacts)[0]]
        return Found(
            hits=hits,
            words=by_words,
            texts={docid: self._text(searcher, docid) for docid in docids},
            seconds=seconds,
            postings=None if None in frequencies else sum(each for each in frequencies if each),
            impacts=asked.num_impacts(),
            version=self._version,
        )

    def _known(
        self, docids: list[str], version: str | None, document_top_k: int | None
    ) -> list[tuple[str | None, csr_array | None]]:
        searcher = self._current()
        if version not in (None, self._version):
            raise IndexReplacedError
        asked, known = self._within(document_top_k), []
        for docid in docids:
            text, vector = self._text(searcher, docid), asked.vector(docid)
            if text is None and vector is None:
                raise InputError(
                    f"nothing but its score is known of the document {docid!r}: the index keeps neither texts nor "
                    "impacts; serve it with --corpus"
                )
            width = self.config.width if self.config else 0
            known.append((text, from_dicts([vector], width) if vector is not None and width else None))
        return known

    def _within(self, top_k: int | None) -> Searcher:
        """The index within a document budget."""
        searcher = self._current()
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

    def _text(self, searcher: Searcher, docid: str) -> str | None:
        return self._texts.get(docid) if self._texts is not None else stored_text(searcher, docid)

    def _has_words(self) -> bool:
        few = self._current().num_docs <= MOST_DOCUMENTS
        return few and (self._texts is not None or self._current().documents() is not None)

    def _by_words(self, query: str, k: int) -> list[tuple[str, float]] | None:
        if not self._has_words():
            return None
        if self._words is None:
            texts = self._texts
            if texts is None:
                texts = {docid: text_of_stored(docid, raw) for docid, raw in self._current().documents() or ()}
            self._words = WordIndex(list(texts), list(texts.values()))
        return self._words.search(query, k)

    def _current(self) -> Searcher:
        """The open index; opened anew if another one stands in its place."""
        version = _version(self.location)
        if self._searcher is None or (version and version != self._version):
            opened = self._open_searcher()
            if self.config is not None and opened.config is not None:
                try:
                    self.config.require_same_index(opened.config, f"the index that now stands at {self.location}")
                except IdentityError:
                    opened.close()
                    raise
            if self._searcher is not None:
                self._searcher.close()
                logger.info("the index at %s was replaced; the new one is open", self.location)
            self._searcher, self._version, self._narrowed, self._words = opened, version, {}, None
            self.config = opened.config or self.config
        return self._searcher


class SearchBusyError(Exception):
    """Too many searches wait."""


class IndexReplacedError(Exception):
    """Another index stands where the one stood that a page knows."""


def _version(location: str) -> str:
    """Changes when a folder is replaced; empty for what is not a folder here, or not at this moment."""
    if "://" in location:
        return ""
    try:
        folder = Path(location)
        newest = max((file.stat() for file in folder.iterdir()), key=lambda stat: stat.st_mtime_ns)
        return f"{folder.stat().st_ino:x}-{newest.st_ino:x}-{newest.st_mtime_ns:x}"
    except (OSError, ValueError):
        return ""


def hit_list(pairs: list[tuple[str, float]], texts: Mapping[str, str | None]) -> list[dict[str, Any]]:
    """Documents as a page shows them."""
    return [{"docid": docid, "score": score, "text": texts[docid]} for docid, score in pairs]


def scores(hits: Hits) -> list[tuple[str, float]]:
    """Ids and whole scores."""
    return list(zip(hits.docids, np.rint(hits.scores).astype(np.int64).tolist(), strict=True))
