"""Builds an index under a name of its own and publishes it in one step, as an alias."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from opensearchpy import TransportError
from scipy.sparse import csr_array

from opensearch_splare.bulk import BulkSender, raise_failures
from opensearch_splare.connection import address, connect, server_errors, server_version
from opensearch_splare.generations import (
    Swap,
    carried,
    create_once,
    delete_index,
    encodes_by_itself,
    generations,
    inherit,
    is_idle,
    keep_copy,
    lasting_aliases,
    late_settings,
    read_indexes,
)
from opensearch_splare.location import cluster_options, split_location
from opensearch_splare.mapping import COMPLETE, DEFAULT_FIELD, LOADING, IndexCard, index_body
from opensearch_splare.payload import check_ids, to_sources
from opensearch_splare.placing import find_building
from splare_plugins.config import SplareConfig
from splare_plugins.engines.base import IndexWriter
from splare_plugins.engines.checks import check_batch, check_impacts
from splare_plugins.errors import InputError, splare_command

log = logging.getLogger(__name__)


class OpenSearchWriter(IndexWriter):
    """Writes ``name-000001`` while searches of ``name`` see nothing or the old index; then ``name`` becomes its alias.

    An index that replaces another one takes over its aliases, settings, pipelines and further fields. Documents are
    written through an alias of their own, so that the server cannot make an index for them if this one is deleted.

    Args:
        location: URL and name of the index, as in ``http://127.0.0.1:9200/docs``.
        config: the model whose impacts will be added.
        overwrite: replace what the name stands for.
        keep_previous: leave what was replaced on the cluster, without its aliases; else delete it, and all earlier
            generations that have no alias.
        on_swap: called with what became of an index that was replaced.
        run: a word for what is being indexed. With one, an error or a killed client leaves the unfinished index, and
            a writer with the same word goes on: what is in is not written again.
        store_text: keep the titles and texts that :meth:`add` gets, for BM25 and for people.
        field: name of the field with the vectors; ``store_vectors``, ``shards``, ``replicas`` and ``analyzer`` are
            those of :func:`index_body`; ``None`` for what the replaced index has, or else for its defaults.
        connection: options of :func:`connect`.
        **options: of :class:`BulkSender`.

    Attributes:
        counts: what became of the documents added so far.
        building: name of the index that is written.

    Raises:
        InputError: if the name is taken, an unfinished index stands in the way, the cluster encodes for the name with
            another model, or it refuses.
    """

    def __init__(
        self,
        location: str,
        config: SplareConfig | None,
        *,
        overwrite: bool = False,
        keep_previous: bool = True,
        on_swap: Callable[[Swap], None] | None = None,
        run: str | None = None,
        store_text: bool = False,
        store_vectors: bool | None = None,
        field: str = DEFAULT_FIELD,
        shards: int | None = None,
        replicas: int | None = None,
        analyzer: str | None = None,
        connection: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        url, self.name = split_location(location)
        self.client = connect(url, **(connection or {}))
        named = {name: value for name, value in (connection or {}).items() if name in ("ca_certs", "aws_region")}
        self._cluster = cluster_options(url, **named)
        self._card = IndexCard(config=config, field=field, state=LOADING, run=run)
        self._width = config.width if config else None
        self._store_text = store_text
        self._overwrite, self._keep_previous, self._on_swap = overwrite, keep_previous, on_swap
        self._added = 0
        server_version(self.client)
        with server_errors(self.client, self.name):
            published = self._published()
            body = index_body(
                self._card,
                shards=1 if shards is None else shards,
                replicas=replicas,
                store_vectors=bool(store_vectors),
                analyzer=analyzer,
            )
            if published:
                body = inherit(
                    body,
                    published[max(published)],
                    self.name,
                    shards=shards,
                    replicas=replicas,
                    analyzer=analyzer,
                    store_vectors=store_vectors,
                )
            begun = False
            while not begun:
                found = find_building(self.client, self.name, self._card, overwrite=overwrite)
                self.building, self._alias = found.name, found.alias
                begun = found.begun or create_once(self.client, self.building, {**body, "aliases": {self._alias: {}}})
            for stale in found.stale:
                delete_index(self.client, stale)
        self._sender = BulkSender(self.client, self.building, operation="create", alias=self._alias, **options)
        self.counts = self._sender.counts

    def add(
        self, docids: Sequence[str], impacts: csr_array, documents: Sequence[Mapping[str, Any]] | None = None
    ) -> None:
        """See :meth:`IndexWriter.add`; ids have at most 512 bytes, impacts are at most 512."""
        check_ids([docid for docid in docids if docid])
        check_impacts(impacts, self._width, docids)
        fields = documents if self._store_text else None
        sources = to_sources(docids, impacts, self._card.field, fields=fields)
        check_batch(docids, impacts, self.known_ids, self._width)
        self._width = impacts.shape[1]
        self._added += len(docids)
        raise_failures(self._sender.send(zip(docids, sources, strict=True)), f"the index {self.name!r}")

    def commit(self) -> None:
        """See :meth:`IndexWriter.commit`.

        Raises:
            InputError: if the index holds other documents than were added.
        """
        try:
            self._finish(self._added, dataclasses.replace(self._card, state=COMPLETE, run=None))
        except BaseException:
            self.abort()
            raise
        self.client.close()

    def _finish(self, documents: int, done: IndexCard) -> None:
        """Publish the index if it holds so many documents."""
        client, building = self.client, self._alias
        with server_errors(client, building):
            client.indices.refresh(index=building)
            answer = client.count(index=building)
            if answer["_shards"]["successful"] < answer["_shards"]["total"]:
                raise InputError(
                    f"a shard of {self.building!r} at {address(client)} does not answer, so that its documents cannot "
                    "be counted; wait until all its nodes are back and run again"
                )
            found = int(answer["count"])
            if found != documents:
                raise InputError(
                    f"the unfinished index {self.building!r} holds {found} documents and the collection {documents}: "
                    "it was begun with another one, or two documents have one id; delete it and run again"
                )
            (about,) = client.indices.get_mapping(index=building).values()
            meta = {**about["mappings"].get("_meta", {}), **done.to_meta()}
            client.indices.put_mapping(index=building, body={"_meta": meta})
            self._publish()

    def abort(self) -> None:
        """See :meth:`IndexWriter.abort`; with a ``run`` the unfinished index stays, so that the run can go on."""
        if self._card.run is None:
            try:
                # By its alias: another run may have an index of this name meanwhile.
                for building in read_indexes(self.client, self._alias):
                    self.client.indices.delete(index=building)
            except TransportError as error:
                log.warning("the unfinished index %r is still there: %s", self.building, error)
        self.client.close()

    def _publish(self) -> None:
        """Give the name to the new index, and with it what the old one had until this moment."""
        client, old = self.client, self._published()
        if self.building in old:  # another process of this run was faster
            return
        removed = set() if self._keep_previous else {*old}
        if not self._keep_previous:
            others = generations(client, self.name).items()
            removed |= {each for each, about in others if each != self.building and is_idle(each, about)}
        kept = sorted(old.keys() - removed - {self.name})
        if self.name in old:
            if self._keep_previous:
                kept.append(keep_copy(client, self.name))
            removed.add(self.name)
        actions: list[dict[str, Any]] = [{"remove_index": {"index": each}} for each in sorted(removed)]
        aliases: dict[str, Any] = {self.name: {}}
        blocks: dict[str, Any] = {}
        for each in sorted(old):
            aliases |= lasting_aliases(old[each])
            pipelines, blocks = late_settings(old[each])
            if pipelines:
                client.indices.put_settings(index=self._alias, body=pipelines)
            if each not in removed:
                actions += [{"remove": {"index": each, "alias": alias}} for alias in old[each]["aliases"]]
        actions += [{"add": {"index": self.building, "alias": alias, **how}} for alias, how in aliases.items()]
        # The last one fails, and all with it, if this index was deleted.
        actions.append({"remove": {"index": self.building, "alias": self._alias, "must_exist": True}})
        client.indices.update_aliases(body={"actions": actions})
        if blocks:
            client.indices.put_settings(index=self.building, body=blocks)
        if old:
            about = [what for each in sorted(old) for what in carried(old[each], self._card.field)]
            swap = Swap(self.building, [each for each in about if each != f"alias {self.name}"], kept, sorted(removed))
            log.info("%s replaced %s: %s", self.building, ", ".join(sorted(old)), swap)
            if self._on_swap is not None:
                self._on_swap(swap)

    def _published(self) -> dict[str, Any]:
        """The indexes that the name stands for, all of them ours."""
        found = read_indexes(self.client, self.name)
        if found and not self._overwrite:
            raise InputError(
                f"the index {self.name!r} at {address(self.client)} exists already; choose another name, or replace "
                "it with --overwrite (in Python: overwrite=True)"
            )
        for name, about in found.items():
            card = IndexCard.from_mapping(about["mappings"], name)
            card.require_whole_texts(name, "what would replace it")
            if encodes_by_itself(about, self.name) and _fingerprint(card.config) != _fingerprint(self._card.config):
                command = splare_command("opensearch", "undeploy", "--index", self.name, *self._cluster)
                raise InputError(
                    f"the cluster at {address(self.client)} encodes for {self.name!r} with another model, whose "
                    f"vectors would be mixed with these; run first: {command}"
                )
        return found


def _fingerprint(config: SplareConfig | None) -> str | None:
    return config.index_fingerprint() if config else None
