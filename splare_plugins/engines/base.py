"""The contract that every search engine meets.

A writer takes impacts and leaves a complete index or none. A searcher returns, for each query, the documents
with the largest integer dot products. ``tests/contract`` is the suite that holds every engine to it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from inspect import signature
from types import TracebackType
from typing import Any, ClassVar, NamedTuple, Protocol, Self, runtime_checkable

import numpy as np
from scipy.sparse import csr_array

from splare_plugins.config import SplareConfig
from splare_plugins.errors import InputError
from splare_plugins.machine import Progress
from splare_plugins.machine.ids import DistinctIds
from splare_plugins.steering import Weights


class Hits(NamedTuple):
    """The answer to one query, best first."""

    docids: list[str]
    scores: np.ndarray
    """float64, shape ``(len(docids),)``: the integer dot products, all > 0."""


class IndexWriter(ABC):
    """Builds one index; a context manager.

    Leaving the ``with`` block normally publishes the index at its location in one step; leaving it through
    an exception leaves whatever stood there before.
    """

    @cached_property
    def known_ids(self) -> DistinctIds | None:
        """Ids that were added, for the checks of :meth:`add`; ``None`` after :meth:`trust_ids`."""
        return DistinctIds()

    def trust_ids(self) -> None:
        """Keep no record of ids, because the caller sees to it that none is added twice; before the first :meth:`add`.

        What the readers of a corpus give is such, and what :class:`~splare_plugins.corpus.EncodedFolder` gives.
        """
        self.known_ids = None

    @abstractmethod
    def add(
        self, docids: Sequence[str], impacts: csr_array, documents: Sequence[Mapping[str, Any]] | None = None
    ) -> None:
        """Append documents.

        Args:
            docids: unique ids, one per row; a document with an empty row is kept.
            impacts: int32, shape ``(len(docids), width)``, values >= 1.
            documents: fields to store beside the impacts, for engines that keep text.

        Raises:
            InputError: for an id that was added before (unless ids are trusted) or that the engine cannot hold.
        """

    @abstractmethod
    def commit(self) -> None:
        """Publish the index; called when the ``with`` block ends normally."""

    @abstractmethod
    def abort(self) -> None:
        """Throw away what was written; called when the ``with`` block ends with an exception."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.commit()
        else:
            self.abort()
        if self.known_ids is not None:
            self.known_ids.close()


class Searcher(ABC):
    """Answers batches of queries from one index; a context manager that closes it.

    Attributes:
        config: the model that made the index, or ``None`` for vectors of unknown origin.
        num_docs: documents in the index, those without any impact included.
        narrows: whether :meth:`narrowed` gives anything.
        ranks_words: whether :meth:`search_words` does.
    """

    config: SplareConfig | None
    num_docs: int
    narrows: bool = False
    ranks_words: bool = False

    @abstractmethod
    def search(self, impacts: csr_array, k: int, *, weights: Weights | None = None) -> list[Hits]:
        """The best ``k`` documents for every query.

        Args:
            impacts: int32, shape ``(n, width)``; an empty row gets no hits.
            k: most documents per query, >= 1. Only documents with a positive score are returned; the order
                within a tie is the engine's, but stable.
            weights: changes to latents of all queries, made before they are asked: see :func:`steer`.

        Raises:
            InputError: if ``k`` is below 1, the queries are over another number of latents than ``config`` says, or
                a weight names a latent that there is not or cannot be one.
        """

    def document(self, docid: str) -> str | None:
        """What was stored of a document, as JSON with its ``title`` and its ``text`` or ``contents``.

        Returns:
            ``None`` if there is no such document, the index keeps no texts, or the engine does not give them.
        """
        return None

    def vector(self, docid: str) -> Mapping[str, int] | None:
        """What is indexed of a document: impacts by pseudo-term.

        Returns:
            ``None`` if there is no such document, or the engine does not give them.
        """
        return None

    def documents(self) -> Iterator[tuple[str, str]] | None:
        """Id and stored JSON of every document, as :meth:`document` gives it; ``None`` where the engine cannot."""
        return None

    def document_frequency(self, term: str) -> int | None:
        """In how many documents a pseudo-term occurs; ``None`` where the engine does not tell."""
        return None

    def num_impacts(self) -> int | None:
        """Impacts of all documents together; ``None`` where the engine does not tell."""
        return None

    def narrowed(self, top_k: int) -> Searcher | None:
        """The same index with the ``top_k`` largest impacts of each document; ``None`` where that takes a new one."""
        return None

    def search_words(self, query: str, k: int) -> Hits | None:
        """The best ``k`` documents by the words of their stored texts, which the engine has indexed too.

        Returns:
            Hits with BM25's scores; ``None`` where the engine, or this index, has latents only.
        """
        return None

    def standing(self) -> str | None:
        """Names the index that stands at the location now, which may be another one than this.

        Returns:
            ``None`` where the engine does not tell; of a folder its files do.
        """
        return None

    @abstractmethod
    def close(self) -> None:
        """Release files and memory."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Engine(Protocol):
    """A named pair of writer and searcher, found through the entry point group ``splare_plugins.engines``."""

    name: str

    def writer(
        self, location: str, config: SplareConfig | None, *, overwrite: bool = False, **options: Any
    ) -> IndexWriter:
        """Open a writer that will publish at ``location``.

        Args:
            location: where the index will stand; a folder, for most engines.
            config: the model whose impacts will be added; ``None`` for vectors of unknown origin.
            overwrite: replace what stands at ``location``.
            **options: the engine's own.

        Raises:
            InputError: if something stands at ``location`` and ``overwrite`` is false.
        """

    def searcher(self, location: str, **options: Any) -> Searcher:
        """Open the index at ``location``.

        Raises:
            InputError: if there is no index, or it is truncated or not one of ours.
        """


class PairedEngine:
    """An engine that is its writer's class and its searcher's, which document their options."""

    name: str
    writer_class: ClassVar[Callable[..., IndexWriter]]
    searcher_class: ClassVar[Callable[..., Searcher]]

    def writer(
        self, location: str, config: SplareConfig | None, *, overwrite: bool = False, **options: Any
    ) -> IndexWriter:
        """See :meth:`Engine.writer`."""
        return type(self).writer_class(location, config, overwrite=overwrite, **options)

    def searcher(self, location: str, **options: Any) -> Searcher:
        """See :meth:`Engine.searcher`.

        Raises:
            InputError: for an option that the searcher does not have.
        """
        taken = signature(type(self).searcher_class).parameters.values()
        known = [each.name for each in taken if each.kind is each.KEYWORD_ONLY]
        takes_any = any(each.kind is each.VAR_KEYWORD for each in taken)  # and hands them on to one that does not
        if unknown := [] if takes_any else sorted(options.keys() - set(known)):
            has = f"it has {', '.join(known)}" if known else "it has none"
            raise InputError(f"searching with {self.name} has no setting {unknown[0]!r}; {has}")
        return type(self).searcher_class(location, **options)


@runtime_checkable
class TunableEngine(Protocol):
    """An engine whose searcher can be opened with settings that make it faster.

    Attributes:
        approximate: whether they also make it miss documents.
        exact: settings with which it misses none.
        candidates: those that are worth trying.
    """

    name: str
    approximate: bool
    exact: Mapping[str, Any]
    candidates: Sequence[Mapping[str, Any]]


@runtime_checkable
class TextEngine(Protocol):
    """An engine that ranks by words too, which is the baseline that latents are compared with."""

    def bm25(
        self,
        documents: Iterable[tuple[str, str]],
        queries: Mapping[str, str],
        k: int,
        *,
        language: str = "en",
        on_progress: Progress | None = None,
    ) -> dict[str, Hits]:
        """BM25's answers to queries over a collection that fits into memory.

        Args:
            documents: pairs of id and text.
            queries: text by query id.
            k: most documents per query.
            language: ISO code of the documents' language.
            on_progress: called after each query, with 1.

        Returns:
            Hits by query id; none for a query without a word of the collection.
        """
