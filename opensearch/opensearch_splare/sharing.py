"""Several loaders, on as many machines, fill one index at once; the one that ends last publishes it.

Nobody is in charge. Documents are created by id, so that a part which two loaders send is in the index once; a part is
noted when the cluster has confirmed it; and who finds all parts noted swaps the alias, which the server does for one
of them. So a loader that was killed, or that is started twice, does no harm, and another one can take its share.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from opensearchpy import OpenSearch

from opensearch_splare.connection import connect, server_errors
from opensearch_splare.generations import read_indexes
from opensearch_splare.location import split_location
from opensearch_splare.mapping import COMPLETE, DEFAULT_FIELD, META_KEY, IndexCard
from opensearch_splare.part_log import PartLog, PartNote, remove_orphans
from opensearch_splare.shares import Share
from opensearch_splare.writer import OpenSearchWriter
from splare_plugins.config import SplareConfig
from splare_plugins.corpus import EncodedCounts
from splare_plugins.errors import InputError
from splare_plugins.machine import Progress
from splare_plugins.machine.overlap import overlapped
from splare_plugins.retrieval.indexing import Summary


@dataclass(frozen=True, kw_only=True)
class ShareReport:
    """What became of one share.

    Attributes:
        published: whether the index is complete, by this loader or another.
        summary: of the documents that this loader wrote, those of other shares and those that were in before counted
            as ``elsewhere``; ``None`` if the index was complete before this loader had read its share.
        missing: parts of the corpus that the index still lacks.
    """

    published: bool
    summary: Summary | None = None
    missing: tuple[int, ...] = ()


class SharedWriter(OpenSearchWriter):
    """Fills an index together with others of the same run; arguments are those of :class:`OpenSearchWriter`."""

    def __init__(self, location: str, config: SplareConfig | None, *, run: str, **options: Any) -> None:
        super().__init__(location, config, run=run, **options)
        self.trust_ids()
        self._log = PartLog(self.client, self._alias)
        with server_errors(self.client, self.name):
            self._log.open()
        self.share: Share | None = None
        self.missing: tuple[int, ...] = ()

    def load(self, share: Share, on_progress: Progress | None = None) -> EncodedCounts:
        """Write the parts of a share that are not in; the counts are of these."""
        counts = EncodedCounts()
        with closing(overlapped(share.load(self._is_in), ahead=2)) as stream:
            for number, sha256, batch in stream:
                if batch is None:
                    continue
                self.add(batch.docids, batch.impacts, batch.documents)
                with server_errors(self.client, self.name):
                    self._log.add(number, PartNote(len(batch), sha256))
                counts += EncodedCounts.of(batch)
                if on_progress is not None:
                    on_progress(len(batch))
        self.share = share
        return counts

    def commit(self) -> None:
        """Publish the index if it holds all parts; else leave it to the other loaders."""
        assert self.share is not None
        with server_errors(self.client, self.name):
            notes = list(self._log.read(self.share.parts))
        for number, note in enumerate(notes):
            known = self.share.sha256.get(number)
            if note is not None and known not in (None, note.sha256):
                raise InputError(
                    f"part {number} of {self.building!r} was loaded from other documents than the corpus has here; "
                    f"delete {self.building!r}, give all loaders the same corpus and run again"
                )
        self.missing = tuple(number for number, note in enumerate(notes) if note is None)
        if not self.missing:
            # The run stays in it, so that a loader that comes late knows its work is done.
            self._finish(self.share.documents, dataclasses.replace(self._card, state=COMPLETE))
            with server_errors(self.client, self.name):
                remove_orphans(self.client, self.name)
        self.client.close()

    def _is_in(self, number: int) -> bool:
        with server_errors(self.client, self.name):
            return number in self._log

    def _published(self) -> dict[str, Any]:
        found = super()._published()
        if self.name in found and self._keep_previous:
            raise InputError(
                f"{self.name!r} is an index of its own and not an alias, which several loaders cannot keep while they "
                "replace it; choose another name, or add --drop-previous (in Python: keep_previous=False)"
            )
        return found


def load_share(
    location: str,
    config: SplareConfig | None,
    share: Share,
    *,
    run: str,
    on_progress: Progress | None = None,
    **options: Any,
) -> ShareReport:
    """Load one share of a corpus into an index that other loaders fill at the same time.

    Args:
        location: URL and name of the index.
        config: the model that made the vectors.
        share: of this loader.
        run: a word for what is loaded and how, the same for all loaders. An index that was published with the same
            word is complete, and nothing is done.
        on_progress: called with the number of documents just written.
        **options: of :class:`OpenSearchWriter`.

    Raises:
        InputError: if the index is there and holds something else, another run is filling it, the loaders were given
            different documents, or two documents have one id.
    """
    url, name = split_location(location)
    connection: Mapping[str, Any] = options.get("connection") or {}
    card = IndexCard(config=config, field=options.get("field", DEFAULT_FIELD), run=run)
    with connect(url, **connection) as client:
        if _is_complete(client, name, card):
            return ShareReport(published=True)
        summary: Summary | None = None
        missing: tuple[int, ...] = ()
        try:
            with SharedWriter(location, config, run=run, **options) as writer:
                counts = writer.load(share, on_progress)
                summary = Summary.of(share.read, counts, elsewhere=share.documents - counts.documents)
            missing = writer.missing
        except InputError:
            # Another loader that published the index meanwhile took it away under this one's hands.
            if not _is_complete(client, name, card):
                raise
        published = not missing or _is_complete(client, name, card)
        return ShareReport(published=published, summary=summary, missing=() if published else missing)


def _is_complete(client: OpenSearch, name: str, card: IndexCard) -> bool:
    """Whether the name stands for an index of this run."""
    with server_errors(client, name):
        for each, about in read_indexes(client, name).items():
            ours = META_KEY in about["mappings"].get("_meta", {})
            if ours and IndexCard.from_mapping(about["mappings"], each) == card:
                remove_orphans(client, name)
                return True
    return False
