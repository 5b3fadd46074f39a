"""What an index is asked with: texts and impacts become query bodies that its server takes."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from opensearchpy import OpenSearch
from scipy.sparse import csr_array

from opensearch_splare.connection import require
from opensearch_splare.handle import IndexHandle
from opensearch_splare.mapping import feature_map
from opensearch_splare.payload import check_query_impacts, check_string
from opensearch_splare.queries import Body, QueryForm, query_tokens, search_body, sparse_query, sparse_vector
from splare_plugins.config import SplareConfig, TopK
from splare_plugins.corpus import Query
from splare_plugins.engines.checks import check_impacts, check_k
from splare_plugins.errors import InputError
from splare_plugins.retrieval.indexing import encode_queries

if TYPE_CHECKING:  # torch
    from splare_plugins.model.encoder import Encoder
    from splare_plugins.static import StaticQueryEncoder


class AskedIndex(IndexHandle):
    """An index with the model and the form of its queries."""

    def __init__(
        self,
        client: OpenSearch,
        name: str,
        model: Encoder | StaticQueryEncoder | SplareConfig | None = None,
        *,
        form: QueryForm = "neural_sparse",
    ) -> None:
        super().__init__(client, name, model if isinstance(model, SplareConfig | None) else model.config)
        self.form: QueryForm = form
        self._model = None if isinstance(model, SplareConfig) else model
        self._preference = secrets.token_hex(8)

    def _require_model(self) -> Encoder | StaticQueryEncoder:
        if self._model is None:
            raise InputError(f"texts need a model; open the index {self.name!r} with one: SplareIndex(..., model=...)")
        return self._model

    def _require_encoder(self) -> Encoder:
        """The model itself, for documents."""
        from splare_plugins.static import StaticQueryEncoder

        model = self._require_model()
        if isinstance(model, StaticQueryEncoder):
            raise InputError(
                f"the index {self.name!r} was opened with a table for queries, and documents need "
                f"{model.config.name} itself; open it with SplareIndex(..., model=SplareModel.from_pretrained(...))"
            )
        return model

    def _encode(self, queries: Sequence[str], top_k: TopK) -> csr_array:
        if isinstance(queries, str):
            raise InputError("give a list of queries, not one string")
        asked = [Query(str(number), text) for number, text in enumerate(queries, start=1)]
        for query in asked:
            check_string(query.text, f"the query in place {query.qid}")
        return encode_queries(self._require_model(), asked, top_k=top_k)

    def _queries(self, impacts: csr_array, size: int) -> list[Body | None]:
        """Each row as a query body; ``None`` for an empty row."""
        card = self.card
        check_impacts(impacts, card.config.width if card.config else None)
        check_query_impacts(impacts)
        if self.form == "neural_sparse":
            require("neural_sparse queries with query_tokens", self.version)
        rows, clauses = query_tokens(impacts), self.limits.max_clauses
        query: Callable[..., Body] = partial(sparse_query, self.form, card.vector_field)
        if (features := feature_map(card)) is not None:
            rows = [features.query(tokens) for tokens in rows]
            query = partial(sparse_vector, card.field, k=size)
        bodies = [query(tokens, max_clauses=clauses) if tokens else None for tokens in rows]
        if not card.passages:
            return bodies
        # A document counts with its best passage.
        nested: Body = {"path": card.field, "score_mode": "max"}
        return [body and {"nested": {**nested, "query": body}} for body in bodies]

    def _body(self, query: Body, size: int, filter: Body | None, pipeline: Body | None) -> Body:
        return search_body(query, size, filter=filter, pipeline=pipeline, pipelines_known=self.pipelines_known)

    def _size(self, k: int) -> int:
        """Hits to ask for: no more than the server gives, unless that would leave some out."""
        check_k(k)
        if k <= self.limits.max_hits:
            return k
        if (documents := self.count()) <= self.limits.max_hits:
            return max(1, documents)
        raise InputError(
            f"{k} hits are more than the index {self.name!r} gives ({self.limits.max_hits}); ask for fewer, or raise "
            "its setting index.max_result_window"
        )
