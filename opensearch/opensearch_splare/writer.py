"""Builds an index under a name of its own and publishes it in one step, as an alias."""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

from opensearchpy import OpenSearch, TransportError
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
        store_vectors: keep vectors in ``_source``; see :func:`index_body`.
        field: name of the field with the vectors.
        shards: primary shards.
        replicas: copies of each; ``None`` keeps one as soon as there is a second node.
        analyzer: of the text fields; ``None`` for the standard one.
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
            places = _Places(self.client, self.name)
            places.check_name(overwrite=overwrite)
            self._replaced = places.published
            self.building = self._unfinished(places, overwrite=overwrite)
            if self.building is None:
                self.building = places.next_name()
                body = index_body(
                    self._card, shards=shards, replicas=replicas, store_vectors=store_vectors, analyzer=analyzer
                )
                body["settings"]["index"]["refresh_interval"] = "-1"
                self.client.indices.create(index=self.building, body=body)
        self._sender = BulkSender(self.client, self.building, operation="create", **options)
        self.counts = self._sender.counts

    def add(
        self,
        docids: Sequence[str],
        impacts: csr_array,
        documents: Sequence[Mapping[str, Any]] | None = None,
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

    def _unfinished(self, places: _Places, *, overwrite: bool) -> str | None:
        """The index that an earlier run left, if this run can go on with it."""
        for name, card in places.unfinished.items():
            same = card.config == self._card.config and card.field == self._card.field
            if same and card.run is not None and card.run == self._card.run:
                log.info("going on with the unfinished index %s", name)
                return name
            if not overwrite:
                raise InputError(
                    f"{name!r} at {address(self.client)} is an unfinished index that another run began; let that one "
                    "end or run it again, or overwrite it"
                )
            self.client.indices.delete(index=name)
        return None


class _Places:
    """What stands at a name: an index or an alias, and indexes that runs left unpublished."""

    def __init__(self, client: OpenSearch, name: str) -> None:
        self._client, self._name = client, name
        self.published: list[str] = []
        if client.indices.exists(index=name):
            self.published = sorted(client.indices.get_alias(index=name))
        numbered = re.compile(re.escape(name) + r"-(\d{6})")
        mappings = client.indices.get_mapping(index=f"{name}-*", params={"expand_wildcards": "all"})
        generations = {each: numbered.fullmatch(each) for each in mappings}
        self._last = max((int(match.group(1)) for match in generations.values() if match), default=0)
        self.unfinished: dict[str, IndexCard] = {}
        for each, match in generations.items():
            mapping = mappings[each]["mappings"]
            if match and META_KEY in mapping.get("_meta", {}):
                card = IndexCard.from_mapping(mapping, each)
                if card.state == LOADING:
                    self.unfinished[each] = card

    def check_name(self, *, overwrite: bool) -> None:
        """Refuse a name that is taken.

        Raises:
            InputError: unless it may be overwritten and stands for one of our indexes.
        """
        if not self.published:
            return
        if not overwrite:
            raise InputError(
                f"the index {self._name!r} at {address(self._client)} exists already; choose another name, or ask to "
                "overwrite it"
            )
        for name, found in self._client.indices.get_mapping(index=self._name).items():
            IndexCard.from_mapping(found["mappings"], name)

    def next_name(self) -> str:
        """The name of the index to build."""
        return f"{self._name}-{self._last + 1:06d}"
