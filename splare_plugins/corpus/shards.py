"""Encode once, index many times: a corpus as a folder of Parquet parts that several machines can fill.

Part ``p`` holds documents ``p * size`` to ``(p + 1) * size - 1`` of the corpus. Each part is encoded on its own, so
that a part has the same bytes whichever run or process made it, and a killed run goes on with the parts that are
missing. One process reads the corpus and writes the files; others may make parts for it.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

from splare_plugins.corpus.documents import Document, ReadCounts
from splare_plugins.corpus.encoded import EncodedBatch, EncodedCounts
from splare_plugins.corpus.manifest import Encoding, ShardRecord, load_encoding
from splare_plugins.corpus.parts import MadePart, PartCard, PartTask, documents_sha256, read_card, read_part
from splare_plugins.errors import InputError
from splare_plugins.machine import Progress
from splare_plugins.machine.files import leftovers, write_whole
from splare_plugins.machine.places import find_place

if TYPE_CHECKING:
    from splare_plugins.machine.places import Place

logger = logging.getLogger(__name__)

Make = Callable[[Iterable[PartTask]], Iterable[MadePart]]


def write_shard(
    folder: str | Place,
    encoding: Encoding,
    shard: int,
    documents: Iterable[Document],
    make: Make,
    *,
    counts: ReadCounts,
    on_finished: Progress | None = None,
) -> ShardRecord:
    """Encode one shard of a corpus into ``folder``; parts that are there already are checked, not made again.

    Args:
        folder: shared by all shards; made if it does not exist.
        encoding: settings, the same for all shards.
        shard: number of this shard, from 1.
        documents: the whole corpus; not read if the shard is complete.
        make: makes parts, each once and in any order; asks for the next task when it has a use for it.
        counts: filled by the reader of ``documents``.
        on_finished: called with the number of documents that were found finished and are not encoded again.

    Raises:
        InputError: if the folder was begun with other settings or another corpus, or the corpus is empty.
        IdentityError: if it was begun with another model.
    """
    if not 1 <= shard <= encoding.shards:
        raise InputError(f"there is no shard {shard} of {encoding.shards}; shards are numbered from 1")
    folder = find_place(folder)
    encoding.claim(folder)
    there = {file.name for file in folder.iterdir()}
    record_path = encoding.shard_path(folder, shard)
    if record_path.exists():
        record = ShardRecord.load(record_path)
        if there.issuperset(path.name for path in _own_parts(folder, encoding, shard, record.documents)):
            if on_finished is not None:
                on_finished(record.encoded.documents)
            return record
    corpus, total, finished = hashlib.sha256(), 0, EncodedCounts()

    def missing() -> Iterator[PartTask]:
        """The parts of this shard that are not there; all documents are counted on the way."""
        nonlocal total, finished
        stream = iter(documents)
        for number, part in enumerate(iter(lambda: list(islice(stream, encoding.part_size)), [])):
            digest = documents_sha256(part)
            corpus.update(bytes.fromhex(digest))
            total += len(part)
            if number % encoding.shards != shard - 1:
                continue
            path = encoding.part_path(folder, number)
            if path.name in there:
                finished += _finished(path, number, digest, encoding)
                if on_finished is not None:
                    on_finished(len(part))
            else:
                yield PartTask(number, digest, part)

    made = EncodedCounts()
    for part in make(missing()):
        path = encoding.part_path(folder, part.number)
        write_whole(path, part.data)
        logger.debug("wrote %s: %d documents", path, part.counts.documents)
        made += part.counts
    if total == 0:
        raise InputError(f"{encoding.source} holds no document")
    for stale in leftovers(folder, {path.name for path in _own_parts(folder, encoding, shard, total)}):
        stale.unlink(missing_ok=True)
    # Where no file can be made only once, a machine with other settings may have begun at the same moment.
    encoding.claim(folder)
    record = ShardRecord(documents=total, source_sha256=corpus.hexdigest(), read=counts, encoded=finished + made)
    record.save(record_path)
    return record


def _finished(path: Place, number: int, digest: str, encoding: Encoding) -> EncodedCounts:
    card = read_card(path)
    _check_card(card, path, number, encoding)
    if card.source_sha256 != digest:
        raise InputError(
            f"{path} was made from other documents than {encoding.source} now has at this place; "
            "restore the corpus, or encode into a new folder"
        )
    return card.counts


def _check_card(card: PartCard, path: Place, number: int, encoding: Encoding) -> None:
    if (card.fingerprint, card.number) != (encoding.config.index_fingerprint(), number):
        raise InputError(
            f"{path} is part {card.number} made with model {card.fingerprint}, not part {number} made with "
            f"{encoding.config.describe()}; remove it and run splare encode again"
        )


def _own_parts(folder: Place, encoding: Encoding, shard: int, documents: int) -> list[Place]:
    numbers = range(shard - 1, -(-documents // encoding.part_size), encoding.shards)
    return [encoding.part_path(folder, number) for number in numbers]


class EncodedFolder:
    """A complete encoded corpus.

    Args:
        path: a folder or address that all shards have been encoded into.

    Attributes:
        path: likewise, as a ``Path`` where it is a folder of this machine.
        encoding: the settings it was encoded with.
        config: the model that encoded it, with the number of latents that was kept of a document as its own.
        num_docs: documents in it.
        read: what the reader met in the corpus.
        encoded: what encoding did to all documents.

    Raises:
        InputError: if it is not an encoded corpus, or shards or parts are missing, naming them and what to run.
    """

    def __init__(self, path: str | Place) -> None:
        self.path = find_place(path)
        self.encoding = load_encoding(self.path)
        self.config = self.encoding.config.with_documents_cut(self.encoding.top_k)
        records = self._records()
        self.num_docs = records[0].documents
        self.read = records[0].read
        self.encoded = sum((record.encoded for record in records), EncodedCounts())
        self._check_parts()

    def __len__(self) -> int:
        return self.num_docs

    def batches(self) -> Iterator[EncodedBatch]:
        """All parts, in corpus order.

        Raises:
            InputError: if a part is damaged or does not belong here.
        """
        for number in range(self.num_parts):
            yield self.part(number)[0]

    def part(self, number: int) -> tuple[EncodedBatch, PartCard]:
        """One part, and what it says about itself.

        Args:
            number: from 0, below ``num_parts``.

        Raises:
            InputError: if it is damaged or does not belong here.
        """
        path = self.encoding.part_path(self.path, number)
        batch, card = read_part(path)
        _check_card(card, path, number, self.encoding)
        expected = min(self.encoding.part_size, self.num_docs - number * self.encoding.part_size)
        if len(batch) != expected:
            raise InputError(f"{path} has {len(batch)} documents instead of {expected}; {self._remedy([number])}")
        return batch, card

    @property
    def num_parts(self) -> int:
        """Number of parts of the whole corpus."""
        return -(-self.num_docs // self.encoding.part_size)

    def _records(self) -> list[ShardRecord]:
        paths = {shard: self.encoding.shard_path(self.path, shard) for shard in range(1, self.encoding.shards + 1)}
        missing = [shard for shard, path in paths.items() if not path.exists()]
        if missing:
            names = ", ".join(f"{shard}/{self.encoding.shards}" for shard in missing)
            raise InputError(
                f"{self.path} is not complete: shard {names} is not finished; {self._command(missing[0])}"
            )
        records = [ShardRecord.load(path) for path in paths.values()]
        for shard, record in enumerate(records, start=1):
            if record.source_sha256 != records[0].source_sha256:
                raise InputError(
                    f"{self.path}: shards 1 and {shard} were made from different corpora; encode into a new folder"
                )
        return records

    def _check_parts(self) -> None:
        there = {file.name for file in self.path.iterdir()}
        missing = [n for n in range(self.num_parts) if self.encoding.part_path(self.path, n).name not in there]
        if missing:
            names = ", ".join(self.encoding.part_path(self.path, number).name for number in missing[:3])
            more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
            raise InputError(f"{self.path} lacks {names}{more}; {self._remedy(missing)}")

    def _remedy(self, parts: list[int]) -> str:
        return "remove it if it is there, and " + self._command(parts[0] % self.encoding.shards + 1)

    def _command(self, shard: int) -> str:
        return f"run: {self.encoding.command(self.path, shard)}"
