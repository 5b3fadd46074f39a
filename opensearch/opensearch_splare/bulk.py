"""Sends documents until each is in or refused: chunks bounded in bytes, patience with busy and lost nodes."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal, NamedTuple

from opensearchpy import OpenSearch, TransportError, helpers

from opensearch_splare.connection import address, error_reason, explain_error
from splare_plugins.errors import InputError

log = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 15.0

# Busy, no such shard now, gateway troubles; the words are opensearchpy's for connections that failed.
PASSING = {429, 502, 503, 504, "N/A", "TIMEOUT"}
_CONFLICT = 409


class Failure(NamedTuple):
    """A document that the server refuses for good."""

    docid: str
    status: int
    reason: str


@dataclass
class BulkCounts:
    """What became of the documents sent so far.

    Attributes:
        written: documents that the server took now.
        found: documents that were there already (operation ``create`` only).
        repeated: times a document was sent again, because a node was busy or lost.
        failures: documents refused for good.
    """

    written: int = 0
    found: int = 0
    repeated: int = 0
    failures: list[Failure] = field(default_factory=list)


@dataclass(eq=False)
class BulkSender:
    """Writes documents by id, so that sending one twice leaves one.

    Attributes:
        client: of the cluster.
        index: name.
        operation: ``index`` replaces a document of the same id, ``create`` leaves it.
        chunk_bytes: most bytes of a request.
        chunk_documents: most documents of a request.
        requests: how many are under way at a time; a node works at each with one thread.
        alias: of the index; writes go to it alone, so that the server makes no index for them once this one is gone.
        patience: seconds without any progress after which a busy or lost cluster is given up.
        counts: of all documents so far.
    """

    client: OpenSearch
    index: str
    _: KW_ONLY
    operation: Literal["index", "create"] = "index"
    chunk_bytes: int = 8 << 20
    chunk_documents: int = 500
    requests: int = 2
    alias: str | None = None
    patience: float = 300.0
    counts: BulkCounts = field(init=False, default_factory=BulkCounts)

    def send(self, documents: Iterable[tuple[str, str]]) -> list[Failure]:
        """Send documents and wait until each is settled.

        Args:
            documents: id and ``_source`` as JSON; ids must differ.

        Returns:
            Those that were refused for good.

        Raises:
            InputError: if the cluster stays busy or away longer than the patience, or nothing may be written to it.
        """
        pending = dict(documents)
        failures: list[Failure] = []
        pause, since = _FIRST_PAUSE, time.monotonic()
        while pending:
            before, trouble = len(pending), self._attempt(pending, failures)
            if not pending:
                break
            if len(pending) < before:
                pause, since = _FIRST_PAUSE, time.monotonic()
            elif time.monotonic() - since > self.patience:
                raise InputError(
                    f"{trouble}; nothing could be written for {self.patience:.0f} seconds, and what was written "
                    "stays, so run again to go on"
                )
            log.info("%d documents wait %.1f s: %s", len(pending), pause, trouble)
            self.counts.repeated += len(pending)
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        self.counts.failures.extend(failures)
        return failures

    def _attempt(self, pending: dict[str, str], failures: list[Failure]) -> str:
        """Send what is pending once; leaves in it what has to be sent again, and says why."""
        trouble = ""
        answers = helpers.parallel_bulk(
            self.client,
            list(pending.items()),
            expand_action_callback=lambda document: ({self.operation: {"_id": document[0]}}, document[1]),
            raise_on_error=False,
            raise_on_exception=False,
            index=self.alias or self.index,
            # The client takes a False for something to send, too.
            **({"require_alias": True} if self.alias else {}),
            chunk_size=self.chunk_documents,
            max_chunk_bytes=self.chunk_bytes,
            thread_count=self.requests,
        )
        for _, answer in answers:
            (item,) = answer.values()
            status, error = item["status"], item.get("exception")
            if status in PASSING:
                trouble = explain_error(error, self.client, self.index) if error else _reason(item)
                continue
            if isinstance(error, TransportError):
                raise InputError(explain_error(error, self.client, self.index)) from error
            self._settle(item, failures)
            del pending[item["_id"]]
        return trouble

    def _settle(self, item: Mapping[str, Any], failures: list[Failure]) -> None:
        status = item["status"]
        if 200 <= status < 300:
            self.counts.written += 1
        elif status == _CONFLICT and self.operation == "create":
            self.counts.found += 1
        elif "cluster_block_exception" in str(item.get("error")):
            raise InputError(
                f"the index {self.index!r} at {address(self.client)} cannot be written: {_reason(item)}; remove the "
                "block in its settings and run again"
            )
        elif "[require_alias]" in str(item.get("error")):
            raise InputError(
                f"the index {self.index!r} at {address(self.client)} was deleted, replaced or published while it was "
                "loaded, by another run or by hand; see that only one run loads it, and run again"
            )
        else:
            failures.append(Failure(item["_id"], status, _reason(item)))


def _reason(item: Mapping[str, Any]) -> str:
    return error_reason({"error": item.get("error")})


def raise_failures(failures: list[Failure], what: str) -> None:
    """Raise an ``InputError`` that names the first document that was refused, if there is one."""
    if failures:
        first = failures[0]
        others = f" (and {len(failures) - 1} others)" if len(failures) > 1 else ""
        raise InputError(
            f"{what} refused the document {first.docid!r}{others} with status {first.status}: {first.reason}; mend it "
            "and run again"
        )
