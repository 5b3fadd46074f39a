"""Builds an index under a name of its own and publishes it in one step, as an alias."""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

from opensearchpy import TransportError
from scipy.sparse import csr_array

from opensearch_splare.bulk import BulkSender, raise_failures
from opensearch_splare.connection import address, connect, server_errors, server_version
from opensearch_splare.location import split_location
from opensearch_splare.mapping import COMPLETE, DEFAULT_FIELD, LOADING, META_KEY, IndexCard, index_body
from opensearch_splare.payload import check_ids, to_sources
from splare_plugins.config import SplareConfig
from splare_plugins.engines.base import IndexWriter
from splare_plugins.engines.checks import check_batch
from splare_plugins.errors import InputError

log = logging.getLogger(__name__)


class OpenSearchWriter(IndexWriter):
    """Writes ``name-000001`` while searches of ``name`` see nothing or the old index; then ``name`` becomes its alias.

    Args:
        location: URL and name of the index, as in ``http://127.0.0.1:9200/docs``.
        config: the model whose impacts will be added.
        overwrite: replace what the name stands for.
        run: a word for what is being indexed. With one, an error or a killed client leaves the unfinished index, and
            a writer with the same word goes on: what is in is not written again.
        store_text: keep the titles and texts that :meth:`add` gets, for BM25 and for people.
        field: name of the field with the vectors; ``store_vectors``, ``shards``, ``replicas`` and ``analyzer`` are
            those of :func:`index_body`.
        **options: of :class:`BulkSender`.

    Attributes:
        counts: what became of the documents added so far.
        building: name of the index that is written.

    Raises:
        InputError: if the name is taken, an unfinished index stands in the way, or the cluster refuses.
    """

    def __init__(
        self,
        location: str,
        config: SplareConfig | None,
        *,
        overwrite: bool = False,
        run: str | None = None,
        store_text: bool = False,
        store_vectors: bool = False,
        field: str = DEFAULT_FIELD,
        shards: int = 1,
        replicas: int | None = None,
        analyzer: str | None = None,
        **options: Any,
    ) -> None:
        url, self.name = split_location(location)
        self.client = connect(url)
        self._card = IndexCard(config=config, field=field, state=LOADING, run=run)
        self._width = config.width if config else None
        self._store_text = store_text
        self._seen: set[str] = set()
        server_version(self.client)
        with server_errors(self.client, self.name):
            self._replaced = self._published(overwrite=overwrite)
            self.building, begun = self._place(overwrite=overwrite)
            if not begun:
                body = index_body(
                    self._card, shards=shards, replicas=replicas, store_vectors=store_vectors, analyzer=analyzer
                )
                body["settings"]["index"]["refresh_interval"] = "-1"
                self.client.indices.create(index=self.building, body=body)
        self._sender = BulkSender(self.client, self.building, operation="create", **options)
        self.counts = self._sender.counts

    def add(
        self, docids: Sequence[str], impacts: csr_array, documents: Sequence[Mapping[str, Any]] | None = None
    ) -> None:
        """See :meth:`IndexWriter.add`; ids have at most 512 bytes, impacts are at most 512."""
        check_ids([docid for docid in docids if docid])
        check_batch(docids, impacts, self._seen, self._width)
        self._width = impacts.shape[1]
        fields = documents if self._store_text else None
        sources = to_sources(docids, impacts, self._card.field, fields=fields)
        raise_failures(self._sender.send(zip(docids, sources, strict=True)), f"the index {self.name!r}")

    def commit(self) -> None:
        """See :meth:`IndexWriter.commit`.

        Raises:
            InputError: if the index holds other documents than were added.
        """
        client, building = self.client, self.building
        done = dataclasses.replace(self._card, state=COMPLETE, run=None)
        try:
            with server_errors(client, self.name):
                client.indices.refresh(index=building)
                found = int(client.count(index=building)["count"])
                if found != len(self._seen):
                    raise InputError(
                        f"the unfinished index {building!r} holds {found} documents and the collection "
                        f"{len(self._seen)}, so it was begun with another one; delete it and run again"
                    )
                client.indices.put_mapping(index=building, body={"_meta": done.to_meta()})
                client.indices.put_settings(index=building, body={"index": {"refresh_interval": None}})
                removals = [{"remove_index": {"index": old}} for old in self._replaced]
                actions = [*removals, {"add": {"index": building, "alias": self.name}}]
                client.indices.update_aliases(body={"actions": actions})
        except BaseException:
            self.abort()
            raise
        client.close()

    def abort(self) -> None:
        """See :meth:`IndexWriter.abort`; with a ``run`` the unfinished index stays, so that the run can go on."""
        if self._card.run is None:
            try:
                self.client.indices.delete(index=self.building, params={"ignore_unavailable": "true"})
            except TransportError as error:
                log.warning("the unfinished index %r is still there: %s", self.building, error)
        self.client.close()

    def _published(self, *, overwrite: bool) -> list[str]:
        """The indexes that the name stands for, all of them ours."""
        if not self.client.indices.exists(index=self.name):
            return []
        if not overwrite:
            raise InputError(
                f"the index {self.name!r} at {address(self.client)} exists already; choose another name, or ask to "
                "overwrite it"
            )
        found = self.client.indices.get_mapping(index=self.name)
        for name, about in found.items():
            IndexCard.from_mapping(about["mappings"], name)
        return sorted(found)

    def _place(self, *, overwrite: bool) -> tuple[str, bool]:
        """The name of the index to build, and whether an earlier run began it, so that this one can go on."""
        mappings = self.client.indices.get_mapping(index=f"{self.name}-*", params={"expand_wildcards": "all"})
        numbers = {name: int(name[-6:]) for name in mappings if re.fullmatch(re.escape(self.name) + r"-\d{6}", name)}
        for name in numbers:
            mapping = mappings[name]["mappings"]
            if META_KEY not in mapping.get("_meta", {}):
                continue
            card = IndexCard.from_mapping(mapping, name)
            if card.state != LOADING:
                continue
            if card.run is not None and card == self._card:
                log.info("going on with the unfinished index %s", name)
                return name, True
            if not overwrite:
                raise InputError(
                    f"{name!r} at {address(self.client)} is an unfinished index that another run began; let that one "
                    "end or run it again, or overwrite it"
                )
            self.client.indices.delete(index=name)
        return f"{self.name}-{max(numbers.values(), default=0) + 1:06d}", False
