"""Fills an index from a stream of encoded documents: exactly once by id, on from a checkpoint.

The index's ``refresh_interval`` is left alone: the server refreshes an index that nobody searches only if it was told
to, and what is turned off here would stay off after a killed client, or after two that overlap.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from opensearchpy import AuthorizationException, TransportError

from opensearch_splare.bulk import BulkSender, Failure, raise_failures
from opensearch_splare.checkpoint import Checkpoint
from opensearch_splare.connection import address, error_reason, server_errors
from opensearch_splare.generations import loading_alias
from opensearch_splare.handle import IndexHandle
from opensearch_splare.mapping import feature_map, single_index
from opensearch_splare.payload import check_ids, check_string, to_sources
from splare_plugins.corpus import Document, EncodedBatch
from splare_plugins.corpus.documents import check_id
from splare_plugins.engines.checks import check_batch
from splare_plugins.errors import InputError
from splare_plugins.machine import Progress
from splare_plugins.machine.ids import DistinctIds
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
            yield _checked(document)
            continue
        rest = dict(document)
        try:
            docid, text, title = rest.pop("_id"), rest.pop("text"), rest.pop("title", "")
        except KeyError as error:
            raise InputError(f"a document has no {error}: {str(document)[:80]}; each needs _id and text") from error
        whole = _checked(Document(docid, text, title))
        if rest:
            further[whole.docid] = rest
        yield whole


def _checked(document: Document) -> Document:
    for what, value in (("text", document.text), ("title", document.title)):
        check_string(value, f"the {what} of the document {document.docid!r}")
    return document._replace(docid=check_id(document.docid, "a document"))


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
    card.require_whole_texts(index.name, "indexing from here")
    width = card.config.width if card.config else None
    further: Further = {}
    begun = _begin(index, checkpoint)
    state, resumed = begun, begun.documents - begun.refused
    rest = _read(documents, further)
    known = DistinctIds()
    if checkpoint is not None:
        rest = state.skip(rest, known, checkpoint)
    with known, _alias_of(index) as alias, closing(overlapped(encode(rest), ahead=2)) as stream:
        sender = BulkSender(index.client, index.name, alias=alias, **options)
        for batch in stream:
            check_ids(batch.docids)
            check_batch(batch.docids, batch.impacts, known, width)
            fields = batch.documents
            if fields is not None:
                fields = [{**kept, **further.pop(docid, {})} for docid, kept in zip(batch.docids, fields, strict=True)]
            sources = to_sources(batch.docids, batch.impacts, card.field, fields=fields, features=features)
            _require_same(index, begun.uuid)
            failures = sender.send(zip(batch.docids, sources, strict=True))
            _require_same(index, begun.uuid)
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
    fresh = Checkpoint(index=index.name, uuid=index_uuid(index))
    found = Checkpoint.load(path) if path is not None else None
    if found is not None:
        if (found.index, found.uuid) != (fresh.index, fresh.uuid):
            raise InputError(
                f"the checkpoint {path} belongs to another index {found.index!r}, or that one was deleted since; "
                "remove the checkpoint to begin anew"
            )
        return found
    return fresh


@contextmanager
def _alias_of(index: IndexHandle) -> Iterator[str | None]:
    """A name to write to for which the server makes no index: what is an alias already, or one while it is loaded.

    Who may write but not give aliases goes without: then only the check after each batch notices a new index.
    """
    client, name = index.client, index.name
    temporary: str | None = None
    with server_errors(client, name):
        lasting = client.indices.exists_alias(name=name)
        if not lasting:
            try:
                client.indices.put_alias(index=name, name=(temporary := loading_alias(name)))
            except AuthorizationException as error:
                log.info("loading %s without an alias: %s", name, error_reason(error.info))
                temporary = None
    try:
        yield name if lasting else temporary
    finally:
        if temporary is not None:
            with suppress(TransportError):
                client.indices.delete_alias(index=name, name=temporary)


def _require_same(index: IndexHandle, uuid: str) -> None:
    """An alias can be given to another index, and one who may not give aliases writes to a mere name."""
    try:
        found = index_uuid(index)
    except InputError:
        found = None
    if found != uuid:
        now = "is gone" if found is None else "stands for another index now"
        raise InputError(
            f"{index.name!r} at {address(index.client)} {now}: the index was deleted, replaced or published while it "
            "was loaded, by another run or by hand; see that only one run loads it, and run again"
        )


def index_uuid(index: IndexHandle) -> str:
    """The server's own name of an index."""
    with server_errors(index.client, index.name):
        found = index.client.indices.get_settings(index=index.name)
    return str(single_index(found, index.name)["settings"]["index"]["uuid"])
