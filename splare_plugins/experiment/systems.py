"""How each kind of system answers the queries of a collection, and what that costs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from splare_plugins.corpus import EncodedBatch, EncodedFolder
from splare_plugins.engines import Hits, get_engine, get_text_engine
from splare_plugins.experiment.collection import Collection
from splare_plugins.experiment.config import ExperimentConfig, SystemSettings
from splare_plugins.experiment.store import Encodings, document_budget, query_budget
from splare_plugins.impacts import Quantizer, keep_largest, with_bits
from splare_plugins.retrieval.fusion import fuse
from splare_plugins.retrieval.indexing import index, most_left_out, search_queries, without_left_out


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What answering costs; ``None`` where a kind of system has no such thing.

    Attributes:
        query_latents: mean of a query.
        document_latents: mean of a document.
        flops: expected products a pair, the mean number of latents that a query and a document share: the sum over
            latents of the share of queries that have it times the share of documents, as the paper counts it.
        index_bytes: of the index on disk, or of dense vectors.
        median_ms: of one query's search, one after the other, its encoding not included.
        p95_ms: the 95th percentile.
        p99_ms: the 99th.
        reranked: mean of the documents of a query that were ranked anew; the times are then those of ranking them, a
            cross-encoder's reading included, and of no earlier stage.
    """

    query_latents: float | None = None
    document_latents: float | None = None
    flops: float | None = None
    index_bytes: int | None = None
    median_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    reranked: float | None = None


Answer = tuple[dict[str, Hits], Costs]


class Clock:
    """Times between calls, in milliseconds; as a progress callback, how long each query took."""

    def __init__(self) -> None:
        self._calls = [time.perf_counter()]

    def __call__(self, _: int) -> None:
        """Another one is done."""
        self._calls.append(time.perf_counter())

    def percentiles(self, *, skipped: int = 0) -> dict[str, Any]:
        """Of all intervals but the first ``skipped``; none if nothing is left."""
        spent = np.diff(self._calls)[skipped:] * 1000
        if not len(spent):
            return {}
        return percentiles(spent)


def percentiles(milliseconds: np.ndarray) -> dict[str, Any]:
    """As :class:`Costs` names them."""
    values = np.percentile(milliseconds, [50, 95, 99]).round(3).tolist()
    return dict(zip(("median_ms", "p95_ms", "p99_ms"), values, strict=True))


def bm25(collection: Collection, depth: int) -> Answer:
    """Lucene's BM25 over titles and texts, with Anserini's settings."""
    documents = ((document.docid, document.content) for document in collection.documents())
    asked, clock = {query.qid: query.text for query in collection.queries}, Clock()
    most = depth + most_left_out(collection.queries)
    engine = get_text_engine("lucene")
    run = engine.bm25(documents, asked, most, language=collection.language, on_progress=clock)
    # The first interval has the indexing in it.
    return without_left_out(run, collection.queries, depth), Costs(**clock.percentiles(skipped=1))


def dense(encodings: Encodings, collection: Collection, depth: int) -> Answer:
    """The backbone's vectors, searched exactly; of equal documents the first comes first."""
    docids = [document.docid for document in collection.documents()]
    documents, queries = (encodings.vectors(collection, side) for side in ("document", "query"))
    most, run, clock = depth + most_left_out(collection.queries), {}, Clock()
    for query, vector in zip(collection.queries, queries, strict=True):
        scores = documents @ vector
        best = np.argsort(-scores, kind="stable")[:most]
        run[query.qid] = Hits([docids[row] for row in best.tolist()], scores[best].astype(np.float64))
        clock(1)
    costs = Costs(index_bytes=documents.nbytes, **clock.percentiles())
    return without_left_out(run, collection.queries, depth), costs


def sparse(
    system: SystemSettings, encodings: Encodings, collection: Collection, config: ExperimentConfig, indexes: Path
) -> Answer:
    """Impacts in the experiment's engine, documents and queries cut to the system's budgets."""
    model, encoded = encodings.config, encodings.documents(collection)
    budget = document_budget(system, model)
    bits = "" if system.bits == SystemSettings.bits else f"-{system.bits}bits"
    location = indexes / f"{config.engine}-{encoded.path.name}-{budget or 'all'}{bits}"
    engine = get_engine(config.engine)
    if not location.exists():
        with engine.writer(str(location), encoded.config.with_documents_cut(budget)) as writer:
            index(cut(encoded, budget, system.bits), writer, counts=encoded.read, distinct=True)
    qids, impacts = [query.qid for query in collection.queries], query_impacts(system, encodings, collection)
    most = config.depth + most_left_out(collection.queries)
    with engine.searcher(str(location)) as searcher:
        searcher.search(impacts[:1], most)  # what is loaded at the first search is not counted
        clock = Clock()
        run = search_queries(searcher, qids, impacts, most, batch_size=1, on_progress=clock)
    fired, total = usage(encoded, budget, system.bits), len(encoded)
    costs = Costs(
        query_latents=impacts.nnz / len(qids),
        document_latents=float(fired.sum()) / total,
        flops=float(_fired(impacts) @ fired) / len(qids) / total,
        index_bytes=sum(file.stat().st_size for file in location.rglob("*") if file.is_file()),
        **clock.percentiles(),
    )
    return without_left_out(run, collection.queries, config.depth), costs


def fused(system: SystemSettings, runs: Sequence[Mapping[str, Hits]], depth: int) -> Answer:
    """The runs of other systems, made one."""
    return fuse(runs, system.method, weights=system.weights, k=depth), Costs()


def query_impacts(system: SystemSettings, encodings: Encodings, collection: Collection) -> csr_array:
    """Queries cut to the system's budget, one a row."""
    weights = keep_largest(encodings.queries(collection, system.query_encoder), query_budget(system, encodings.config))
    qids = [query.qid for query in collection.queries]
    return with_bits(Quantizer.from_config(encodings.config).queries(weights, qids).impacts, system.bits)


def usage(encoded: EncodedFolder, budget: int | None, bits: int = SystemSettings.bits) -> np.ndarray:
    """In how many documents each latent is active.

    Args:
        encoded: documents.
        budget: latents kept of each; all for ``None``.
        bits: of an impact.
    """
    fired = np.zeros(encoded.config.width)
    for batch in cut(encoded, budget, bits):
        fired += _fired(batch.impacts)
    return fired


def cut(encoded: EncodedFolder, budget: int | None, bits: int) -> Iterator[EncodedBatch]:
    """Documents with their largest impacts, of so many bits."""
    for batch in encoded.batches():
        yield replace(batch, impacts=with_bits(keep_largest(batch.impacts, budget), bits))


def _fired(impacts: csr_array) -> np.ndarray:
    """In how many rows each latent is active."""
    return np.bincount(impacts.indices, minlength=impacts.shape[1])
