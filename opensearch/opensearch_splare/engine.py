"""OpenSearch behind the contract of :mod:`splare_plugins.engines.base`; a location is ``http://host:9200/name``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from opensearch_splare.connection import connect, server_errors
from opensearch_splare.index import SplareIndex
from opensearch_splare.location import split_location
from opensearch_splare.mapping import TEXT_FIELDS, single_index
from opensearch_splare.writer import OpenSearchWriter
from splare_plugins.engines.base import Hits, Searcher
from splare_plugins.steering import Weights


class OpenSearchSearcher(Searcher):
    """Exact search; scores are integer dot products.

    Args:
        location: URL and name of the index.
        connection: options of :func:`connect`.
        **options: of :class:`SplareIndex`.

    Raises:
        InputError: if there is no such index, splare did not make it, or it is not complete.
    """

    def __init__(self, location: str, *, connection: Mapping[str, Any] | None = None, **options: Any) -> None:
        url, name = split_location(location)
        self.index = SplareIndex(connect(url, **(connection or {})), name, **options)
        self.config = self.index.card.config
        self.num_docs = self.index.count()

    def search(self, impacts: Any, k: int, *, weights: Weights | None = None) -> list[Hits]:
        """See :meth:`Searcher.search`; impacts of queries may go up to 256."""
        return self.index.search_impacts(impacts, k, weights=weights)

    def document(self, docid: str) -> str | None:
        """See :meth:`Searcher.document`."""
        params = {"_source_includes": ",".join(TEXT_FIELDS)}
        with server_errors(self.index.client, self.index.name):
            found = self.index.client.get(index=self.index.name, id=docid, params=params, ignore=404)
        source = found.get("_source", {})
        return json.dumps(source) if "text" in source else None

    @property
    def ranks_words(self) -> bool:  # type: ignore[override]
        """Whether any document has a text; see :meth:`search_words`."""
        with_text = {"query": {"bool": {"should": [{"exists": {"field": field}} for field in TEXT_FIELDS]}}}
        with server_errors(self.index.client, self.index.name):
            found = self.index.client.count(index=self.index.name, body=with_text, params={"terminate_after": 1})
        return int(found["count"]) > 0

    def search_words(self, query: str, k: int) -> Hits | None:
        """See :meth:`Searcher.search_words`."""
        return self.index.search_words([query], k)[0] if self.ranks_words else None

    def standing(self) -> str | None:
        """See :meth:`Searcher.standing`; an alias may be given to another index."""
        with server_errors(self.index.client, self.index.name):
            found = self.index.client.indices.get_settings(index=self.index.name, name="index.uuid")
        uuid: str | None = single_index(found, self.index.name).get("settings", {}).get("index", {}).get("uuid")
        return uuid

    def close(self) -> None:
        """Close the connections."""
        self.index.client.close()


class OpenSearchEngine:
    """The engine ``opensearch``."""

    name = "opensearch"
    writer = OpenSearchWriter
    searcher = OpenSearchSearcher
