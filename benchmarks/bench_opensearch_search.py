"""Searching impacts in OpenSearch: each form of the query against BM25 over texts, and what the indexes weigh.

    python benchmarks/bench_opensearch_search.py [--documents 20000 100000] [--queries 100] [-k 10] [--heap 1g]
        [--small] [--json FILE]

For each size one node is started, filled and stopped. Latencies are a client's, one query after another, all kinds of
queries in turn for every query, into one shard of one segment; ids and scores come back and nothing else. The vectors
are random with the statistics of SPLARE's (``tests/pyterrier_splare/vectors.py``): documents with 400 latents out of
16,384, queries with 40. The texts are as long as SciFact's abstracts and made of its sentences, drawn with
replacement; they are asked for with SciFact's claims. Exact forms must give the exact scores, or the script fails;
for two phases the share of the best k that they find is printed, and the fastest setting that finds enough.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from harness import Figure, add_options, disagree, require_found, require_opensearch, write_record
from opensearchpy import OpenSearch
from scipy.sparse import csr_array

from opensearch_splare import (
    BulkSender,
    Node,
    OpenSearchWriter,
    connect,
    neural_sparse,
    query_tokens,
    rank_feature,
    two_phase_pipeline,
)
from opensearch_splare.queries import IMPACT_UNIT, Body, search_body
from splare_plugins.corpus import read_documents, read_queries

ROOT = Path(__file__).resolve().parents[1]
COLLECTION = ROOT / "examples" / "data" / "scifact"
BATCH = 1000
FIELD = "splare"
BM25, EXACT, CORE = "BM25 match", "neural_sparse, one phase", "rank_feature"
TWO_PHASES = [(0.4, 5.0), (0.6, 5.0), (0.8, 5.0), (0.6, 20.0), (0.8, 20.0)]
"""Prune ratio and expansion rate; the first are the server's defaults."""
INDEXES = {
    "bm25": "BM25, texts in _source",
    "vectors": "SPLARE, vectors not in _source",
    "stored": "SPLARE, vectors in _source",
}


class Search(NamedTuple):
    """One search of one kind."""

    target: str
    body: Body


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, nargs="+", default=[20_000, 100_000])
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=2, help="after one to warm up")
    parser.add_argument("--recall", type=float, default=0.99, help="of the best k that a recommended setting finds")
    parser.add_argument("--heap", default="1g", help="of the node")
    parser.add_argument("--stored", type=int, default=20_000, help="most documents to index with vectors in _source")
    add_options(parser, {"documents": [1000], "queries": 20, "rounds": 1, "heap": "512m"})
    options = parser.parse_args()
    require_opensearch()
    sys.path.insert(0, str(ROOT))
    measured = []
    for documents in options.documents:
        with tempfile.TemporaryDirectory() as folder, Node(folder, heap=options.heap) as node:
            measured.append(_measure(node, documents, options))
    write_record(options, list(_figures(measured, options)), rows=[_row(each) for each in measured])


class Measured(NamedTuple):
    """What was measured with one number of documents."""

    documents: int
    postings: int
    medians: dict[str, float]
    """Milliseconds of each kind of search."""
    sizes: dict[str, int]
    """Bytes of each index."""


def _measure(node: Node, documents: int, options: argparse.Namespace) -> Measured:
    from tests.pyterrier_splare.vectors import topical_vectors

    impacts, queries = topical_vectors(documents, options.queries)
    claims = [query.text for query in read_queries(COLLECTION)]
    texts = [claims[number % len(claims)] for number in range(options.queries)]
    with connect(node.url, timeout=600) as client:
        _index_texts(client, documents)
        _index_vectors(node, "vectors", impacts, store_vectors=False)
        if documents <= options.stored:
            _index_vectors(node, "stored", impacts, store_vectors=True)
        sizes = {name: _settled_size(client, name) for name in INDEXES if client.indices.exists(index=name)}
        searches = _searches(query_tokens(queries), texts, options.k)
        seconds, found_scores = _run(client, searches, options.rounds)
    recalls = _recalls(found_scores, _best_scores(impacts, queries, options.k))
    require_found("hits of BM25", sum(map(len, found_scores[BM25])))
    _show_latencies(documents, seconds, recalls, options)
    _show_sizes(documents, sizes)
    medians = {kind: float(np.median(spent)) * 1e3 for kind, spent in seconds.items()}
    return Measured(documents, impacts.nnz, medians, sizes)


def _figures(measured: Sequence[Measured], options: argparse.Namespace) -> Iterator[Figure]:
    """The rows of the table."""
    counts = "; ".join(f"{each.documents:,}" for each in measured)
    yield Figure(
        what=f"OpenSearch, exact search, k = {options.k}, {counts} documents, median latency",
        against="BM25 `match` on the same node",
        ratio=[each.medians[EXACT] / each.medians[BM25] for each in measured],
        unit=["of its time"] * len(measured),
        command="bench_opensearch_search.py",
    )
    for each in measured:
        if "stored" in each.sizes:
            yield Figure(
                what="OpenSearch, size of the index, vectors not in `_source`; in it",
                against="BM25 index of the same texts",
                ratio=[each.sizes[name] / each.sizes["bm25"] for name in ("vectors", "stored")],
                unit=["of its size"] * 2,
                command="bench_opensearch_search.py",
            )
            break


def _row(measured: Measured) -> dict[str, Any]:
    """What ``splare estimate`` is fitted to, beside the rows of bench_growth.py."""
    return {
        "engine": "opensearch",
        "documents": measured.documents,
        "postings": measured.postings,
        "megabytes": measured.sizes["vectors"] / 1e6,
        "median_ms": measured.medians[EXACT],
        "cut": None,
        "settings": {},
    }


def _texts(documents: int) -> Iterator[str]:
    rng = np.random.default_rng(1)
    cut = [re.split(r"(?<=[.!?]) ", document.text) for document in read_documents(COLLECTION)]
    sentences = [sentence for parts in cut for sentence in parts]
    for length in rng.choice([len(parts) for parts in cut], documents).tolist():
        yield " ".join(sentences[number] for number in rng.integers(0, len(sentences), length).tolist())


def _index_texts(client: OpenSearch, documents: int) -> None:
    settings = {"index": {"number_of_shards": 1, "number_of_replicas": 0, "refresh_interval": "-1"}}
    mappings = {"dynamic": "strict", "properties": {"text": {"type": "text"}}}
    client.indices.create(index="bm25", body={"settings": settings, "mappings": mappings})
    sources = ((f"d{row}", json.dumps({"text": text})) for row, text in enumerate(_texts(documents)))
    if failures := BulkSender(client, "bm25").send(sources):
        disagree(f"a text was refused: {failures[0].reason}")
    client.indices.refresh(index="bm25")


def _index_vectors(node: Node, name: str, impacts: csr_array, *, store_vectors: bool) -> None:
    with OpenSearchWriter(f"{node.url}/{name}", None, field=FIELD, store_vectors=store_vectors, replicas=0) as writer:
        for start in range(0, impacts.shape[0], BATCH):
            batch = impacts[start : start + BATCH]
            writer.add([f"d{start + row}" for row in range(batch.shape[0])], batch)
            # A segment that was never merged would keep what the merge drops.
            writer.client.indices.refresh(index=writer.building)


def _settled_size(client: OpenSearch, name: str) -> int:
    """Bytes of an index in one segment.

    A server keeps the whole source of new documents for copies that lag behind, also what ``_source`` leaves out;
    merging drops it, but only what it no longer holds for them.
    """
    client.indices.flush(index=name)
    for _ in range(120):
        ((shard,),) = _shards(client, name).values()
        kept = min(lease["retaining_seq_no"] for lease in shard["retention_leases"]["leases"])
        if kept > shard["seq_no"]["max_seq_no"]:
            break
        time.sleep(0.5)
    else:
        disagree(f"{name}: the server still holds all documents for lagging copies")
    client.indices.forcemerge(index=name, params={"max_num_segments": 1})
    client.indices.refresh(index=name)
    # The sizes among an index's statistics are up to ten seconds old.
    (found,) = client.indices.segments(index=name)["indices"].values()
    ((shard,),) = found["shards"].values()
    searched = [segment for segment in shard["segments"].values() if segment["search"]]
    if len(searched) != 1:
        disagree(f"{name}: {len(searched)} segments are left")
    return int(searched[0]["size_in_bytes"])


def _shards(client: OpenSearch, name: str) -> dict[str, list[dict[str, Any]]]:
    (found,) = client.indices.stats(index=name, params={"level": "shards"})["indices"].values()
    return dict(found["shards"])


def _searches(tokens: list[dict[str, float]], texts: list[str], k: int) -> dict[str, list[Search]]:
    """The searches of each kind, one for each query."""
    one_phase = [neural_sparse(FIELD, row) for row in tokens]
    kinds = {
        BM25: [Search("bm25", search_body({"match": {"text": text}}, k)) for text in texts],
        EXACT: [Search("vectors", search_body(query, k)) for query in one_phase],
        CORE: [Search("vectors", search_body(rank_feature(FIELD, row), k)) for row in tokens],
    }
    for ratio, rate in TWO_PHASES:
        pipeline = two_phase_pipeline(prune_ratio=ratio, expansion_rate=rate)
        bodies = [search_body(query, k, pipeline=pipeline) for query in one_phase]
        kinds[f"two phases, {ratio} x {rate:g}"] = [Search("vectors", body) for body in bodies]
    return kinds


def _run(
    client: OpenSearch, searches: dict[str, list[Search]], rounds: int
) -> tuple[dict[str, list[float]], dict[str, list[list[float]]]]:
    """Seconds of each search, the first round not counted, and the scores that it gave."""
    seconds: dict[str, list[float]] = {kind: [] for kind in searches}
    scores: dict[str, list[list[float]]] = {kind: [] for kind in searches}
    for number in range(rounds + 1):
        for query in range(len(searches[EXACT])):
            for kind, each in searches.items():
                begin = time.perf_counter()
                answer = client.search(index=each[query].target, body=each[query].body)
                spent = time.perf_counter() - begin
                if number:
                    seconds[kind].append(spent)
                else:
                    scores[kind].append([hit["_score"] for hit in answer["hits"]["hits"]])
    return seconds, scores


def _best_scores(impacts: csr_array, queries: csr_array, k: int) -> list[list[float]]:
    best = []
    documents = impacts.astype(np.int64).T.tocsr()
    for start in range(0, queries.shape[0], BATCH // 10):
        products = (queries[start : start + BATCH // 10].astype(np.int64) @ documents).toarray()
        best += [sorted((row[row > 0] / IMPACT_UNIT).tolist(), reverse=True)[:k] for row in products]
    return best


def _recalls(found: dict[str, list[list[float]]], best: list[list[float]]) -> dict[str, float]:
    """Share of the best scores that each kind of SPLARE query found."""
    recalls = {}
    require_found("hits", sum(map(len, best)))
    for kind, answers in found.items():
        if kind == BM25:
            continue
        if kind in (EXACT, CORE) and answers != best:
            disagree(f"{kind}: a query has other scores than the exact ones")
        # A document outside the rescored window has a part of its score only, which is no larger.
        hits = sum(score >= scores[-1] for scores, row in zip(best, answers, strict=True) for score in row)
        recalls[kind] = hits / sum(map(len, best))
    return recalls


def _show_latencies(
    documents: int, seconds: dict[str, list[float]], recalls: dict[str, float], options: argparse.Namespace
) -> None:
    print(
        f"{documents:,} documents, {options.queries} queries, k = {options.k}, heap {options.heap}, {options.rounds} "
        "rounds after one to warm up; ms; x = median / BM25's; recall of the exact best k"
    )
    print(f"{'':<28}{'median':>9}{'p90':>9}{'p99':>9}{'x':>7}{'recall':>9}")
    medians = {}
    for kind, spent in seconds.items():
        median, p90, p99 = np.percentile(spent, [50, 90, 99]) * 1e3
        medians[kind] = median
        recall = f"{recalls[kind]:>9.3f}" if kind in recalls else ""
        print(f"{kind:<28}{median:>9.2f}{p90:>9.2f}{p99:>9.2f}{median / medians[BM25]:>7.2f}{recall}")
    good = [kind for kind, recall in recalls.items() if recall >= options.recall]
    print(f"fastest with a recall of at least {options.recall:g}: {min(good, key=medians.__getitem__)}\n", flush=True)


def _show_sizes(documents: int, sizes: dict[str, int]) -> None:
    print(f"{documents:,} documents, one segment; x = size / BM25's")
    print(f"{'':<32}{'MB':>9}{'x':>7}{'bytes/document':>16}")
    for name, label in INDEXES.items():
        if name in sizes:
            size = sizes[name]
            print(f"{label:<32}{size / 1e6:>9.1f}{size / sizes['bm25']:>7.2f}{size / documents:>16,.0f}")
    print(flush=True)


if __name__ == "__main__":
    main()
