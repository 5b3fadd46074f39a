"""An index on a cluster: made, looked at, deleted."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from opensearchpy import OpenSearch
from scipy.sparse import csr_array

from opensearch_splare.connection import FEATURES, Version, address, require, server_errors, server_version
from opensearch_splare.features import FeatureMap
from opensearch_splare.location import check_name
from opensearch_splare.mapping import DEFAULT_FIELD, FieldType, IndexCard, index_body, seismic_parameters, single_index
from opensearch_splare.msearch import SearchLimits, read_limits
from opensearch_splare.queries import IMPACT_UNIT
from splare_plugins.config import SplareConfig
from splare_plugins.errors import InputError


class IndexHandle:
    """An index by name, and the config that its vectors must have been made with; ``None`` for any."""

    def __init__(self, client: OpenSearch, name: str, config: SplareConfig | None) -> None:
        self.client = client
        self.name = check_name(name)
        self.config = config

    def create(
        self,
        *,
        field: str = DEFAULT_FIELD,
        field_type: FieldType = "rank_features",
        shards: int = 1,
        replicas: int | None = None,
        store_vectors: bool = False,
        analyzer: str | None = None,
        fields: Mapping[str, Any] | None = None,
        sample: csr_array | None = None,
        query_sample: csr_array | None = None,
        method: Mapping[str, Any] | None = None,
    ) -> None:
        """Make the index: strict mapping, text fields for BM25, the model's config in ``_meta``.

        Args:
            field: name of the field with the vectors; other arguments that are not listed are those of
                :func:`index_body`.
            field_type: ``rank_features`` searches exactly; ``sparse_vector`` (OpenSearch 3.3 on) approximately, in
                large collections.
            sample: with ``sparse_vector``, the impacts of all documents: they say which latents are in use, and how
                large an impact can be.
            query_sample: with ``sparse_vector``, impacts of typical queries; else the largest that there can be.
            method: with ``sparse_vector``, other parameters of :func:`seismic_parameters`.

        Raises:
            InputError: if the index exists, the server is too old, or a value is impossible.
        """
        card = IndexCard(config=self.config, field=field, field_type=field_type)
        parameters = None
        if field_type == "sparse_vector":
            require("sparse_vector fields", self.version)
            if sample is None or self.config is None:
                raise InputError("a sparse_vector index needs a model and, as sample, the impacts of all documents")
            card = dataclasses.replace(card, features=FeatureMap.of(sample).to_text())
            ceilings = {"document_ceiling": float(sample.data.max(initial=1))}
            if query_sample is not None:
                ceilings["query_ceiling"] = float(query_sample.data.max(initial=1)) / IMPACT_UNIT
            parameters = seismic_parameters(**{**ceilings, **(method or {})})
        body = index_body(
            card,
            shards=shards,
            replicas=replicas,
            store_vectors=store_vectors,
            analyzer=analyzer,
            fields=fields,
            method=parameters,
        )
        with server_errors(self.client, self.name):
            if self.client.indices.exists(index=self.name):
                raise InputError(f"the index {self.name!r} at {address(self.client)} exists already; delete it first")
            self.client.indices.create(index=self.name, body=body)
        self._forget()

    def delete(self) -> None:
        """Delete the index, and if the name is an alias, what it stands for.

        Raises:
            InputError: if there is none, or it was not made by splare.
        """
        _ = self.card
        with server_errors(self.client, self.name):
            for concrete in self.client.indices.get(index=self.name):
                self.client.indices.delete(index=concrete)
        self._forget()

    @cached_property
    def version(self) -> Version:
        """Major and minor version of the server."""
        return server_version(self.client)

    @property
    def pipelines_known(self) -> bool:
        """Whether the server knows search pipelines in the body of a search."""
        return self.version >= FEATURES["search pipelines in a search's body"]

    @cached_property
    def card(self) -> IndexCard:
        """What the index says of itself.

        Raises:
            InputError: if there is no such index, splare did not make it, or a writer has not finished it.
            IdentityError: if it was made with another model.
        """
        with server_errors(self.client, self.name):
            found = self.client.indices.get_mapping(index=self.name)
        card = IndexCard.from_mapping(single_index(found, self.name)["mappings"], self.name)
        card.require_complete(self.name)
        if self.config is not None and card.config is not None:
            self.config.require_same_index(card.config, f"the index {self.name!r}")
        return card

    def count(self) -> int:
        """Documents that a search can see."""
        with server_errors(self.client, self.name):
            return int(self.client.count(index=self.name)["count"])

    @cached_property
    def limits(self) -> SearchLimits:
        """What the cluster and the index allow in a search."""
        return read_limits(self.client, self.name)

    def _forget(self) -> None:
        for name in ("card", "limits"):
            self.__dict__.pop(name, None)
