"""Fills an index from a stream of encoded documents: refresh off, exactly once by id, on from a checkpoint."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from opensearchpy import OpenSearch

from opensearch_splare.bulk import BulkSender, Failure, raise_failures
from opensearch_splare.checkpoint import Checkpoint
from opensearch_splare.connection import server_errors
from opensearch_splare.handle import IndexHandle
from opensearch_splare.mapping import feature_map
from opensearch_splare.payload import check_ids, to_sources
from splare_plugins.corpus import Document, EncodedBatch
from splare_plugins.engines.checks import check_batch
from splare_plugins.errors import InputError
from splare_plugins.machine import Progress
from splare_plugins.machine.overlap import overlapped

log = logging.getLogger(__name__)

OnError = Literal["raise", "report"]
Encode = Callable[[Iterable[Document]], Iterable[EncodedBatch]]
Further = dict[str, Mapping[str, Any]]


@dataclass(kw_only=True)
class IndexReport:
    """What became of a collection.

    Attributes:
        indexed: documents of the collection that are in the index now.
        resumed: of these, documents that the checkpoint knew and that were not sent again.
        repeated: times that a document was sent again because a node was busy or lost.
        failures: documents that the server refused in this call (``on_error="report"`` only).
    """

    indexed: int = 0
    resumed: int = 0
    repeated: int = 0
    failures: list[Failure] = field(default_factory=list)


def _read(documents: Iterable[Document | Mapping[str, Any]], further: Further) -> Iterator[Document]:
    """Documents as the encoder takes them; ``further`` gets the other fields of mappings, by id."""
    for document in documents:
        if isinstance(document, Document):
            yield document
            continue
        rest = dict(document)
        try:
            docid, text, title = rest.pop("_id"), rest.pop("text"), rest.pop("title", "")
        except KeyError as error:
            raise InputError(f"a document has no {error}: {str(document)[:80]}; each needs _id and text") from error
        check_ids([docid])
        if rest:
            further[docid] = rest
        yield Document(docid, text, title)


def fill_index(
    index: IndexHandle,
    encode: Encode,
    *,
    documents: Iterable[Document | Mapping[str, Any]] = (),
    checkpoint: Path | None = None,
    on_error: OnError = "raise",
    on_progress: Progress | None = None,
    **options: Any,
) -> IndexReport:
    """Index what ``encode`` makes of ``documents``; see ``SplareIndex.index``."""
    card, features = index.card, feature_map(index.card)
    width = card.config.width if card.config else None
    seen: set[str] = set()
    further: Further = {}
    sender = BulkSender(index.client, index.name, **options)
    begun = _begin(index, checkpoint)
    state, resumed = begun, begun.documents - begun.refused
    rest = _read(documents, further)
    if checkpoint is not None:
        rest = state.skip(rest, seen, checkpoint)
    with _refresh_off(index.client, index.name, begun), closing(overlapped(encode(rest), ahead=2)) as stream:
        for batch in stream:
            check_ids(batch.docids)
            check_batch(batch.docids, batch.impacts, seen, width)
            fields = batch.documents
            if fields is not None:
                fields = [{**kept, **further.pop(docid, {})} for docid, kept in zip(batch.docids, fields, strict=True)]
            sources = to_sources(batch.docids, batch.impacts, card.field, fields=fields, features=features)
            failures = sender.send(zip(batch.docids, sources, strict=True))
            if on_error == "raise":
                raise_failures(failures, f"the index {index.name!r}")
            state = dataclasses.replace(
                state,
                documents=state.documents + len(batch),
                refused=state.refused + len(failures),
                last=batch.docids[-1] if len(batch) else state.last,
            )
            if checkpoint is not None:
                state.save(checkpoint)
            if on_progress is not None:
                on_progress(len(batch))
    with server_errors(index.client, index.name):
        index.client.indices.refresh(index=index.name)
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    return IndexReport(
        indexed=state.documents - state.refused,
        resumed=resumed,
        repeated=sender.counts.repeated,
        failures=sender.counts.failures,
    )


def _begin(index: IndexHandle, path: Path | None) -> Checkpoint:
    with server_errors(index.client, index.name):
        (settings,) = index.client.indices.get_settings(index=index.name).values()
    values = settings["settings"]["index"]
    fresh = Checkpoint(index=index.name, uuid=values["uuid"], refresh_interval=values.get("refresh_interval"))
    found = Checkpoint.load(path) if path is not None else None
    if found is not None:
        if (found.index, found.uuid) != (fresh.index, fresh.uuid):
            raise InputError(
                f"the checkpoint {path} belongs to another index {found.index!r}, or that one was deleted since; "
                "remove the checkpoint to begin anew"
            )
        return found
    if path is not None:
        # Before refreshing is turned off: a killed client must not leave it so for good.
        fresh.save(path)
    return fresh


@contextmanager
def _refresh_off(client: OpenSearch, name: str, begun: Checkpoint) -> Iterator[None]:
    """New documents become visible at the end, which spares the server a segment a second."""

    def set_interval(interval: str | None) -> None:
        with server_errors(client, name):
            client.indices.put_settings(index=name, body={"index": {"refresh_interval": interval}})

    set_interval("-1")
    try:
        yield
    except BaseException:
        try:
            set_interval(begun.refresh_interval)
        except InputError as error:
            log.warning("the refresh_interval of the index %r is still -1: %s", name, error)
        raise
    set_interval(begun.refresh_interval)
