"""Runs query bodies in batches and gives back ids and scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from opensearchpy import AuthorizationException, NotFoundError, OpenSearch

from opensearch_splare.connection import address, cluster_settings, error_reason, explain_reason, server_errors
from opensearch_splare.queries import DEFAULT_MAX_CLAUSES, Body
from splare_plugins.engines.base import Hits
from splare_plugins.errors import InputError

# Queries of one request.
_BATCH = 64

_STATE = "responses.error,responses.timed_out,responses.status"


class SearchLimits(NamedTuple):
    """What a cluster and an index allow."""

    max_clauses: int
    """Tokens of one query."""
    max_hits: int
    """Hits of one query."""


def read_limits(client: OpenSearch, index: str) -> SearchLimits:
    """Ask for the limits; where the user may not ask, those of an untouched cluster are assumed."""
    with server_errors(client, index):
        settings = client.indices.get_settings(index=index, name="index.max_result_window")
    found = [each["settings"]["index"] for each in settings.values() if each.get("settings")]
    return SearchLimits(_max_clauses(client), min((int(each["max_result_window"]) for each in found), default=10_000))


def run_searches(client: OpenSearch, index: str, bodies: Sequence[Body | None], *, preference: str) -> list[Hits]:
    """Answer searches in their order with ids and scores; ``None`` has no hits.

    The arguments and errors are those of :func:`run_raw_searches`.
    """
    wanted = ("_id", "_score")
    return [_hits(hits) for hits in run_raw_searches(client, index, bodies, preference=preference, wanted=wanted)]


def run_raw_searches(
    client: OpenSearch, index: str, bodies: Sequence[Body | None], *, preference: str, wanted: Sequence[str] = ("*",)
) -> list[list[Body]]:
    """Answer searches in their order with the ``wanted`` parts of each hit; ``None`` has no hits.

    Searches with the same ``preference`` see the same copy of each shard, so that ties keep their order.

    Raises:
        InputError: if a search is refused, or a part of the index does not answer: hits are never missing silently.
    """
    answers: list[list[Body]] = [[] for _ in bodies]
    asked = [number for number, body in enumerate(bodies) if body is not None]
    header = {"index": index, "preference": preference, "allow_partial_search_results": False}
    parts = ",".join([*(f"responses.hits.hits.{part}" for part in wanted), _STATE])
    for start in range(0, len(asked), _BATCH):
        numbers = asked[start : start + _BATCH]
        lines = [line for number in numbers for line in (header, bodies[number])]
        with server_errors(client, index):
            found = client.msearch(body=lines, params={"filter_path": parts})
        for number, response in zip(numbers, found.get("responses", []), strict=True):
            answers[number] = _checked(response, client, index)
    return answers


def _checked(response: Mapping[str, Any], client: OpenSearch, index: str) -> list[Body]:
    if "error" in response:
        what = f"the index {index!r} at {address(client)}"
        raise InputError(explain_reason(error_reason(response), what, response.get("status", "unknown")))
    if response.get("timed_out"):
        raise InputError(f"a search of the index {index!r} at {address(client)} timed out; allow more time")
    return list(response.get("hits", {}).get("hits", []))


def _hits(hits: list[Body]) -> Hits:
    scores = np.array([hit["_score"] for hit in hits], dtype=np.float32).astype(np.float64)
    return Hits([hit["_id"] for hit in hits], scores)


def _max_clauses(client: OpenSearch) -> int:
    with server_errors(client):
        try:
            return int(cluster_settings(client).get("indices.query.bool.max_clause_count", DEFAULT_MAX_CLAUSES))
        except (AuthorizationException, NotFoundError):  # managed clusters may not tell
            return DEFAULT_MAX_CLAUSES
