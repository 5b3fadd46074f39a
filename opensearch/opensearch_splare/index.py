"""One index of SPLARE vectors on a cluster: filled, searched and explained from here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scipy.sparse import csr_array

from opensearch_splare.asking import AskedIndex
from opensearch_splare.connection import require, server_errors
from opensearch_splare.filling import IndexReport, OnError, fill_index
from opensearch_splare.hit_explanation import explain_hit
from opensearch_splare.msearch import run_raw_searches, run_searches
from opensearch_splare.payload import check_string
from opensearch_splare.queries import (
    IMPACT_UNIT,
    Body,
    check_two_phase_window,
    hit_options,
    hybrid,
    hybrid_pipeline,
    two_phase_pipeline,
)
from opensearch_splare.words import words_query
from splare_plugins.config import TopK, check_count
from splare_plugins.corpus import Document, EncodedBatch
from splare_plugins.engines.base import Hits
from splare_plugins.errors import InputError
from splare_plugins.machine import Progress
from splare_plugins.retrieval.explain import Explainer, Explanation
from splare_plugins.retrieval.indexing import document_batches
from splare_plugins.steering import Weights, steer


class SplareIndex(AskedIndex):
    """An index on an OpenSearch cluster.

    Args:
        client: of the cluster; see :func:`connect`.
        name: of the index.
        model: the model for documents and queries; a config is enough for vectors that are made elsewhere.
        form: of queries: ``neural_sparse`` needs the plugin of that name, ``rank_feature`` only OpenSearch's core.
            Both give the same scores.

    Raises:
        InputError: for a name that OpenSearch does not allow.
    """

    def index(
        self,
        documents: Iterable[Document | Mapping[str, Any]],
        *,
        checkpoint: str | Path | None = None,
        on_error: OnError = "raise",
        top_k: TopK = "model",
        on_progress: Progress | None = None,
        **options: Any,
    ) -> IndexReport:
        """Encode documents and index them with their texts; one of the same id is replaced.

        Args:
            documents: with ids, or mappings with ``_id``, ``text``, perhaps ``title``, and the further fields that
                :meth:`create` declared.
            checkpoint: a file that remembers how far it came. After a killed client, the same call with the same
                collection goes on there, without encoding the first part again; it is removed at the end.
            on_error: what to do when the server refuses a document: stop, or go on and report it.
            top_k: latents kept of a document; ``None`` keeps all.
            on_progress: called with the number of documents just indexed.
            **options: of :class:`BulkSender`.

        Raises:
            InputError: for a document that cannot be indexed, two with one id, or a cluster that stays away.
            IdentityError: if the index was made with another model.
        """
        model = self._require_encoder()
        return fill_index(
            self,
            lambda rest: document_batches(model, rest, top_k=top_k, store_text=True),
            documents=documents,
            checkpoint=Path(checkpoint) if checkpoint is not None else None,
            on_error=on_error,
            on_progress=on_progress,
            **options,
        )

    def index_encoded(
        self,
        batches: Iterable[EncodedBatch],
        *,
        on_error: OnError = "raise",
        on_progress: Progress | None = None,
        **options: Any,
    ) -> IndexReport:
        """Index impacts that this index's model made before, for example ``EncodedFolder.batches()``.

        The options are those of :meth:`index`.
        """
        return fill_index(self, lambda _: batches, on_error=on_error, on_progress=on_progress, **options)

    def search(
        self,
        queries: Sequence[str],
        k: int = 10,
        *,
        filter: Body | None = None,
        two_phase: bool = False,
        top_k: TopK = "model",
        weights: Weights | None = None,
    ) -> list[Hits]:
        """The best documents of each query.

        Args:
            queries: texts.
            k: most documents per query.
            filter: a query that hits must match.
            two_phase: find with the strong latents and rescore with all: faster, made for few hits, no longer exact.
            top_k: latents kept of a query; ``None`` keeps all.
            weights: latents of all queries to switch off, turn up or put in; see
                :data:`splare_plugins.steering.Weights`.

        Returns:
            For each query ids and scores, best first; scores are integer dot products.

        Raises:
            InputError: if there is no such index, or the server refuses.
            IdentityError: if the index was made with another model.
        """
        impacts = self._encode(queries, top_k)
        return self.search_impacts(impacts, k, filter=filter, two_phase=two_phase, weights=weights)

    def search_impacts(
        self,
        impacts: csr_array,
        k: int = 10,
        *,
        filter: Body | None = None,
        two_phase: bool = False,
        weights: Weights | None = None,
    ) -> list[Hits]:
        """Like :meth:`search`, for queries that are impacts already: int32, shape ``(n, width)``."""
        size, pipeline = self._size(k), None
        if two_phase:
            require("the two-phase processor", self.version)
            check_two_phase_window(size)
            pipeline = two_phase_pipeline()
        queries = self._queries(steer(impacts, weights), size)
        bodies = [None if query is None else self._body(query, size, filter, pipeline) for query in queries]
        answers = run_searches(self.client, self.name, bodies, preference=self._preference)
        return [Hits(hits.docids, hits.scores * IMPACT_UNIT) for hits in answers]

    def search_hits(
        self,
        queries: Sequence[str],
        k: int = 10,
        *,
        filter: Body | None = None,
        source: bool | Sequence[str] = True,
        highlight: Sequence[str] = (),
        after: Sequence[Any] | None = None,
        top_k: TopK = "model",
        weights: Weights | None = None,
    ) -> list[list[Body]]:
        """Like :meth:`search`, with each hit as the server gives it, but for its ``_score``, an integer dot product.

        Args:
            queries: texts; ``k``, ``filter``, ``top_k`` and ``weights`` are as for :meth:`search`.
            source: fields of ``_source`` to return, ``True`` for all.
            highlight: text fields in which the words of a query are marked, under ``highlight``; latents have no
                words of their own, so a hit may have none.
            after: for one query, page by page: ``[]``, then the ``sort`` of the last hit of the page before.

        Returns:
            For each query its hits, best first.
        """
        if after is not None and len(queries) != 1:
            raise InputError(f"pages go through the hits of one query, not of {len(queries)}; ask for each on its own")
        size = self._size(k)
        bodies: list[Body | None] = []
        impacts = steer(self._encode(queries, top_k), weights)
        for text, query in zip(queries, self._queries(impacts, size), strict=True):
            more = hit_options(text, source=source, highlight=highlight, after=after)
            bodies.append(query and {**self._body(query, size, filter, None), **more})
        answers = run_raw_searches(self.client, self.name, bodies, preference=self._preference)
        return [[{**hit, "_score": hit["_score"] * IMPACT_UNIT} for hit in hits] for hits in answers]

    def search_words(self, queries: Sequence[str], k: int = 10, *, filter: Body | None = None) -> list[Hits]:
        """The best documents of each query by BM25 alone, whose scores they have; arguments as for :meth:`search`."""
        size, clauses = self._size(k), self.limits.max_clauses
        for number, text in enumerate(queries, start=1):
            check_string(text, f"the query in place {number}")
        bodies = [self._body(words_query(text, max_clauses=clauses), size, filter, None) for text in queries]
        return run_searches(self.client, self.name, bodies, preference=self._preference)

    def search_hybrid(
        self,
        queries: Sequence[str],
        k: int = 10,
        *,
        weight: float = 0.7,
        filter: Body | None = None,
        top_k: TopK = "model",
        weights: Weights | None = None,
    ) -> list[Hits]:
        """SPLARE and BM25 together: the scores of each are scaled to 0..1 and added.

        Args:
            queries: texts; ``k``, ``filter``, ``top_k`` and ``weights`` are as for :meth:`search`.
            weight: of SPLARE's score, 0..1; BM25 has the rest.

        Returns:
            For each query ids and combined scores in 0..1, best first.
        """
        require("hybrid queries", self.version)
        size = self._size(k)
        pipeline = hybrid_pipeline([weight, 1 - weight])
        bodies: list[Body | None] = []
        impacts = steer(self._encode(queries, top_k), weights)
        for text, query in zip(queries, self._queries(impacts, size), strict=True):
            parts = [query or {"match_none": {}}, words_query(text, max_clauses=self.limits.max_clauses)]
            # Normalisation is per sub-query, so the filter stands in each.
            if filter is not None:
                parts = [{"bool": {"must": [part], "filter": [filter]}} for part in parts]
            bodies.append(self._body(hybrid(parts), size, None, pipeline))
        return run_searches(self.client, self.name, bodies, preference=self._preference)

    def explain(self, query: str, docid: str, *, top: int = 10, weights: Weights | None = None) -> Explanation:
        """Take the score of a query's text and an indexed document apart, by what the index holds.

        At most ``top`` latents are listed; ``weights`` are as for :meth:`search`.

        Raises:
            InputError: if there is no such document.
        """
        model = self._require_encoder()
        check_count(top, "the number of latents to list")
        self.card.require_whole_texts(self.name, "an explanation")
        check_string(query, "the query")
        explainer = Explainer(model, query, top=top, weights=weights)
        (body,) = self._queries(explainer.impacts, 1)
        with server_errors(self.client, self.name):
            return explain_hit(self.client, self.name, body, docid, explainer)
