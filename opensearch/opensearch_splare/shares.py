"""A corpus in numbered parts, and which of them one of several loaders takes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from splare_plugins.corpus import Document, EncodedBatch, EncodedFolder, ReadCounts
from splare_plugins.corpus.encoded import join_batches
from splare_plugins.corpus.parts import documents_sha256
from splare_plugins.errors import InputError

Encode = Callable[[Iterable[Document]], Iterable[EncodedBatch]]
IsIn = Callable[[int], bool]

PART_SIZE = 2000
"""Documents of a part of text; what a killed loader may have to encode again."""


class Part(NamedTuple):
    """One part; without a batch if it is in the index already."""

    number: int
    sha256: str
    batch: EncodedBatch | None


class Share(ABC):
    """Share ``shard`` of ``shards``, from 1: the parts ``p`` with ``p % shards == shard - 1``.

    Attributes:
        parts: of the whole corpus; known, as is the rest, when all of :meth:`load` was used.
        documents: of the whole corpus.
        read: what the reader met in the whole corpus.
        sha256: hashes of the documents of parts that were read, by number.
    """

    def __init__(self, shard: int, shards: int, read: ReadCounts) -> None:
        if not 1 <= shard <= shards:
            raise InputError(f"there is no share {shard} of {shards}; shares are numbered from 1")
        self.shard, self.shards, self.read = shard, shards, read
        self.parts = self.documents = 0
        self.sha256: dict[int, str] = {}

    @abstractmethod
    def load(self, is_in: IsIn) -> Iterator[Part]:
        """The parts of this share, in order; ``is_in`` says of a number whether that part is in the index."""

    def waiting(self, missing: Iterable[int]) -> list[str]:
        """The shares that have the ``missing`` parts, as ``--shard`` names them."""
        return [f"{shard + 1}/{self.shards}" for shard in sorted({number % self.shards for number in missing})]


class EncodedShare(Share):
    """Of a corpus that was encoded before; its parts are those of the folder."""

    def __init__(self, folder: EncodedFolder, *, shard: int = 1, shards: int = 1) -> None:
        super().__init__(shard, shards, folder.read)
        self._folder = folder
        self.parts, self.documents = folder.num_parts, folder.num_docs

    def load(self, is_in: IsIn) -> Iterator[Part]:
        """See :meth:`Share.load`."""
        for number in range(self.shard - 1, self.parts, self.shards):
            if is_in(number):
                yield Part(number, "", None)
                continue
            batch, card = self._folder.part(number)
            self.sha256[number] = card.source_sha256
            yield Part(number, card.source_sha256, batch)


class TextShare(Share):
    """Of texts, which are encoded on the way. Each loader reads all of them, and sees each id.

    Args:
        documents: the whole corpus, from ``read_documents``, the same for all loaders.
        encode: makes vectors of the documents of one part.
        read: filled by the reader of ``documents``.
        shard: number of this share.
        shards: number of shares.
        part_size: documents of a part, the same for all loaders.
        source: what the corpus is called in messages.
    """

    def __init__(
        self,
        documents: Iterable[Document],
        encode: Encode,
        *,
        read: ReadCounts,
        shard: int = 1,
        shards: int = 1,
        part_size: int = PART_SIZE,
        source: str = "the corpus",
    ) -> None:
        super().__init__(shard, shards, read)
        self._source = source
        self._documents, self._encode, self._part_size = documents, encode, part_size

    def load(self, is_in: IsIn) -> Iterator[Part]:
        """See :meth:`Share.load`."""
        stream = iter(self._documents)
        for number, part in enumerate(iter(lambda: list(islice(stream, self._part_size)), [])):
            self.parts, self.documents = number + 1, self.documents + len(part)
            self.sha256[number] = digest = documents_sha256(part)
            if number % self.shards == self.shard - 1:
                yield Part(number, digest, None if is_in(number) else join_batches(list(self._encode(part))))
        if not self.parts:
            raise InputError(f"{self._source} holds no document")
