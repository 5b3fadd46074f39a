"""Which parts of a corpus are in an unfinished index: a document for each part, in a hidden index beside it.

A part is noted after the cluster has confirmed all its documents, by whoever loaded it, and only once. The index is
read by id, which needs no refresh, and has the name of the alias that the unfinished index is written through: a new
one each time, so that no note is taken for one of an index that had the same name before.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple, TypeVar

from opensearchpy import ConflictError, OpenSearch, TransportError

from opensearch_splare.bulk import PASSING, BulkSender
from opensearch_splare.generations import create_once, delete_index, read_indexes

T = TypeVar("T")

_TOGETHER = 1000
_PAUSE = 0.2
_GONE = "index_not_found_exception"
_NAME = re.compile(r"((.+-\d{6})-loading-[0-9a-f]{6})-parts")


class PartNote(NamedTuple):
    """What is noted of a part: its documents, and their hash."""

    documents: int
    sha256: str


class PartLog:
    """The notes of an unfinished index.

    Args:
        client: of the cluster.
        alias: that the unfinished index is written through.
    """

    def __init__(self, client: OpenSearch, alias: str) -> None:
        self._client, self.name = client, f"{alias}-parts"
        self._alias = f"{self.name}-alias"

    def open(self) -> None:
        """Make the index for the notes, unless it is there."""
        settings = {"number_of_shards": 1, "auto_expand_replicas": "0-1", "hidden": True}
        body = {
            "settings": {"index": settings},
            "mappings": {"dynamic": False},
            "aliases": {self._alias: {"is_hidden": True}},
        }
        create_once(self._client, self.name, body)

    def __contains__(self, part: int) -> bool:
        return bool(_patiently(lambda: self._client.exists(index=self.name, id=str(part))))

    def add(self, part: int, note: PartNote) -> None:
        """Note a part; what another process noted before stays."""
        # Through an alias, since the server would make an index for a note of one that is published and gone.
        params = {"op_type": "create", "require_alias": "true"}
        with suppress(ConflictError):
            _patiently(lambda: self._client.index(index=self._alias, id=str(part), body=note._asdict(), params=params))

    def read(self, parts: int) -> Iterator[PartNote | None]:
        """The notes of the first so many parts; ``None`` for one that is not in."""
        for start in range(0, parts, _TOGETHER):
            ids = [str(part) for part in range(start, min(start + _TOGETHER, parts))]
            for found in _patiently(partial(self._documents, ids)):
                yield PartNote(**found["_source"]) if found.get("found") else None

    def _documents(self, ids: list[str]) -> list[dict[str, Any]]:
        documents: list[dict[str, Any]] = self._client.mget(index=self.name, body={"ids": ids})["docs"]
        for each in documents:
            if (kind := each.get("error", {}).get("type", _GONE)) != _GONE:
                raise TransportError(503, kind, each["error"])
        return documents


def _patiently(call: Callable[[], T]) -> T:
    """What a call gives, as soon as a busy or lost node, or a shard that is not there yet, answers it."""
    since = time.monotonic()
    while True:
        try:
            return call()
        except TransportError as error:
            if error.status_code not in PASSING or time.monotonic() - since > BulkSender.patience:
                raise
        time.sleep(_PAUSE)


def remove_orphans(client: OpenSearch, name: str) -> None:
    """Delete notes of indexes of ``name`` that were published or deleted."""
    found = read_indexes(client, f"{name}-*")
    for each in found:
        match = _NAME.fullmatch(each)
        if match and match[2][:-7] == name and match[1] not in found.get(match[2], {}).get("aliases", {}):
            delete_index(client, each)
