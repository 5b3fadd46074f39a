"""Bulk indexing of ready vectors into OpenSearch: our writer against sentence-transformers' helper.

    python benchmarks/bench_opensearch_bulk.py [--documents 20000] [--latents 400] [--rounds 3] [--heap 1g]
        [--small] [--json FILE]

Both write to one node that the script starts and stops, in turns, into one shard without replicas; a small round
before the first warms the node up. Each is handed the vectors in the form that it takes (impacts in CSR, lists of
tokens and weights), and its time ends when all documents can be found. The helper keeps vectors in ``_source``; ours
runs with and without. Client and node share the processors. The vectors are random with the statistics of SPLARE's
(``tests/pyterrier_splare/vectors.py``). Every index must hold all documents and give the exact scores of a sample of
queries, or the script fails.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from harness import Figure, add_options, disagree, paired, require_found, require_opensearch, write_record
from opensearchpy import OpenSearch, Urllib3HttpConnection
from scipy.sparse import csr_array

from opensearch_splare import Node, OpenSearchWriter, connect, neural_sparse, query_tokens
from opensearch_splare.queries import IMPACT_UNIT

ROOT = Path(__file__).resolve().parents[1]
BATCH = 1000
FIELD = "tokens"
DEPTH = 100
LABELS = {
    "helper": "sentence-transformers",
    "ours": "ours, vectors in _source",
    "without": "ours, vectors not in _source",
}

Decoded = list[list[tuple[str, float]]]


class Cost(NamedTuple):
    """Seconds of one run; ``cpu`` is the client's, without the node."""

    wall: float
    cpu: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--latents", type=int, default=400, help="of a document")
    parser.add_argument("--queries", type=int, default=20, help="whose scores are compared")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--heap", default="1g", help="of the node")
    add_options(parser, {"documents": 500, "rounds": 1, "heap": "512m"})
    options = parser.parse_args()
    require_opensearch()

    sys.path.insert(0, str(ROOT))
    os.environ.setdefault("TQDM_DISABLE", "1")
    from tests.pyterrier_splare.vectors import topical_vectors

    impacts, queries = topical_vectors(options.documents, options.queries, latents=options.latents)
    decoded = _decode(impacts)
    expected = _best_scores(impacts, queries)
    require_found("hits", sum(map(len, expected)))
    costs: dict[str, list[Cost]] = {name: [] for name in LABELS}
    with tempfile.TemporaryDirectory() as folder, Node(folder, heap=options.heap) as node, connect(node.url) as client:
        for number in range(options.rounds + 1):
            rows = min(options.documents, 2000) if number == 0 else options.documents
            contenders: dict[str, Callable[[], str]] = {
                "helper": partial(_helper, node, decoded[:rows]),
                "ours": partial(_ours, node, impacts[:rows], store_vectors=True),
                "without": partial(_ours, node, impacts[:rows], store_vectors=False),
            }
            for name, write in contenders.items():
                wall, cpu = time.perf_counter(), time.process_time()
                index = write()
                cost = Cost(time.perf_counter() - wall, time.process_time() - cpu)
                if number:
                    costs[name].append(cost)
                    _check(client, index, options.documents, queries, expected, LABELS[name])
                for concrete in client.indices.get(index=index):
                    client.indices.delete(index=concrete)
    _show(costs, options)
    peer = [run.wall for run in costs["helper"]]
    ratios = [paired(peer, [run.wall for run in costs[name]]) for name in ("ours", "without")]
    figure = Figure(
        what=f"OpenSearch, bulk indexing, {options.documents:,} x {options.latents}, vectors in `_source`; not",
        against="sentence-transformers' helper",
        ratio=ratios,
        unit=["x faster"] * 2,
        aim=2,
        command="bench_opensearch_bulk.py",
    )
    write_record(options, [figure])


def _helper(node: Node, decoded: Decoded) -> str:
    from sentence_transformers.sparse_encoder.search_engines import semantic_search_opensearch

    class ToNode(Urllib3HttpConnection):
        """The helper's address is fixed, localhost:9200; this is the only change to it."""

        def __init__(self, **settings: Any) -> None:
            super().__init__(**{**settings, "host": "127.0.0.1", "port": node.port})

    # Without queries, it only indexes; its own timeout of ten seconds would end a run on a busy machine.
    answer = semantic_search_opensearch(
        [], corpus_embeddings_decoded=decoded, output_index=True, connection_class=ToNode, timeout=60
    )
    client, index = answer[2]
    client.close()
    return str(index)


def _ours(node: Node, impacts: csr_array, *, store_vectors: bool) -> str:
    location = f"{node.url}/ours"
    with OpenSearchWriter(location, None, field=FIELD, store_vectors=store_vectors, replicas=0) as writer:
        for start in range(0, impacts.shape[0], BATCH):
            batch = impacts[start : start + BATCH]
            writer.add([str(start + row) for row in range(batch.shape[0])], batch)
    return "ours"


def _decode(impacts: csr_array) -> Decoded:
    """What ``SparseEncoder.decode`` would give."""
    from splare_plugins.impacts import latent_terms

    terms = latent_terms(impacts.shape[1])[impacts.indices].tolist()
    weights = np.array([float(weight) for weight in range(256)], dtype=object)[impacts.data].tolist()
    pairs = list(zip(terms, weights, strict=True))
    return [pairs[start:end] for start, end in pairwise(impacts.indptr.tolist())]


def _best_scores(impacts: csr_array, queries: csr_array) -> list[list[float]]:
    products = (queries.astype(np.int64) @ impacts.astype(np.int64).T).toarray()
    return [sorted((row[row > 0] / IMPACT_UNIT).tolist(), reverse=True)[:DEPTH] for row in products]


def _check(
    client: OpenSearch, index: str, documents: int, queries: csr_array, expected: list[list[float]], label: str
) -> None:
    """Stop unless the index is what it should be."""
    if (found := client.count(index=index)["count"]) != documents:
        disagree(f"{label}: {found} documents instead of {documents}")
    for tokens, scores in zip(query_tokens(queries), expected, strict=True):
        body = {"size": DEPTH, "_source": False, "query": neural_sparse(FIELD, tokens)}
        hits = client.search(index=index, body=body)["hits"]["hits"]
        if [hit["_score"] for hit in hits] != scores:
            disagree(f"{label}: a query has other scores than the exact ones")


def _show(costs: dict[str, list[Cost]], options: argparse.Namespace) -> None:
    print(
        f"{options.documents:,} documents x {options.latents} latents, one node with a heap of {options.heap}, "
        f"{options.rounds} rounds after one to warm up; medians; x = ours / sentence-transformers"
    )
    print(f"{'':<32}{'documents/s':>12}{'x':>7}{'client CPU s':>14}")
    for name, runs in costs.items():
        ratio = paired([peer.wall for peer in costs["helper"]], [run.wall for run in runs])
        speed = statistics.median(options.documents / run.wall for run in runs)
        cpu = statistics.median(run.cpu for run in runs)
        print(f"{LABELS[name]:<32}{speed:>12,.0f}{ratio:>7.2f}{cpu:>14.1f}")


if __name__ == "__main__":
    main()
