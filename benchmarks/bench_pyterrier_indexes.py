"""The five PyTerrier indexes next to one another: build time, size, latency, recall, and effectiveness.

    python benchmarks/bench_pyterrier_indexes.py [--documents 20000 100000] [--queries 1000] [--k 10] [--only pisa]
    python benchmarks/bench_pyterrier_indexes.py --collection FOLDER [--model NAME]

The vectors are random with the statistics of SPLARE's (``tests/pyterrier_splare/vectors.py``): documents with 400
latents out of 16,384, queries with 40. Every index is built by one writer from the same batches and asked one query at
a time, on one thread; Seismic builds on all. Recall is measured against the exact integer products.

With a collection (a folder in BEIR's form), its text is encoded with a model, put into all five indexes, and
evaluated: the exact ones must agree to the fourth digit.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness import Figure, add_options, require_close, require_found, require_same, write_record

ROOT = Path(__file__).resolve().parents[1]
KINDS = ("memory", "pisa", "terrier", "anserini", "seismic")
EXACT = ("memory", "pisa", "terrier", "anserini", "seismic, exhaustive")
BATCH = 1000
# Latency of the slower ones is known well enough after fewer queries.
FEWER = {"memory": 200, "terrier": 200}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, nargs="+", default=[20_000, 100_000])
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--collection", type=Path, help="BEIR folder to evaluate instead")
    parser.add_argument("--model", default=None, help="that encodes the collection")
    parser.add_argument("--child", nargs=3, metavar=("KIND", "VECTORS", "FOLDER"), help=argparse.SUPPRESS)
    add_options(parser, {"documents": [1000], "queries": 50})
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    if options.child:
        kind, vectors, folder = options.child
        print(json.dumps(list(_measure(kind, Path(vectors), Path(folder), options))))
    elif options.collection:
        _evaluate(options)
    else:
        write_record(options, [_compare(documents, options) for documents in options.documents])


def _compare(documents: int, options: argparse.Namespace) -> Figure:
    """Every index in a process of its own."""
    from scipy.sparse import save_npz

    from tests.pyterrier_splare.vectors import topical_vectors

    print(f"\n{documents:,} documents x 400 latents, {options.queries:,} queries x 40, k = {options.k}")
    print(f"{'':<22}{'build s':>9}{'MB':>8}{'median ms':>11}{'p99 ms':>9}{'recall':>9}{'queries':>9}")
    with tempfile.TemporaryDirectory() as folder:
        impacts, asked = topical_vectors(documents, options.queries)
        save_npz(Path(folder) / "documents.npz", impacts, compressed=False)
        save_npz(Path(folder) / "queries.npz", asked, compressed=False)
        del impacts, asked
        medians = {}
        for kind in options.only:
            command = [sys.executable, __file__, "--child", kind, folder, str(Path(folder) / kind)]
            command += ["--k", str(options.k)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(f"{kind} failed:\n{done.stderr}")
            for line in json.loads(done.stdout.splitlines()[-1]):
                require_found("queries", line["queries"])
                if line["name"] in EXACT:
                    require_close(f"the best documents of {line['name']}, which is exact,", line["recall"], 1.0)
                medians[line["name"]] = line["median"]
                print(
                    f"{line['name']:<22}{line['build']:>9.1f}{line['megabytes']:>8.0f}{line['median']:>11.2f}"
                    f"{line['p99']:>9.2f}{line['recall']:>9.4f}{line['queries']:>9,}",
                    flush=True,
                )
    first = next(iter(medians))
    return Figure(
        what=f"PyTerrier, the five back ends, {documents:,} documents x 400, k = {options.k}, median latency",
        against=first,
        ratio=[median / medians[first] for median in medians.values()],
        unit=[f"of its time for {name}" for name in medians],
        command="bench_pyterrier_indexes.py",
    )


def _measure(kind: str, vectors: Path, folder: Path, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    import numpy as np
    from scipy.sparse import csr_array, load_npz

    from pyterrier_splare import SplareIndex

    documents = csr_array(load_npz(vectors / "documents.npz"))
    queries = csr_array(load_npz(vectors / "queries.npz"))
    docids = [f"d{row}" for row in range(documents.shape[0])]
    index = getattr(SplareIndex, kind)(folder)
    begin = time.perf_counter()
    with index.engine().writer(str(folder), None) as writer:
        for start in range(0, len(docids), BATCH):
            writer.add(docids[start : start + BATCH], documents[start : start + BATCH])
    build = time.perf_counter() - begin
    megabytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
    for name, searching in _variants(kind).items():
        count = min(FEWER.get(kind, queries.shape[0]), queries.shape[0])
        searcher = index.searcher(**searching)
        searcher.search(queries[:5], options.k)
        times, found = [], []
        for row in range(count):
            query = queries[row : row + 1]
            begin = time.perf_counter()
            hits = searcher.search(query, options.k)
            times.append(time.perf_counter() - begin)
            found.append(hits[0])
        products = (queries[:count].astype(np.int64) @ documents.astype(np.int64).T).tocsr()
        recall = np.mean([_recall(hits.scores, products[[row]].data, options.k) for row, hits in enumerate(found)])
        yield {
            "name": name,
            "build": build,
            "megabytes": megabytes,
            "median": 1000 * float(np.median(times)),
            "p99": 1000 * float(np.percentile(times, 99)),
            "recall": float(recall),
            "queries": count,
        }


def _variants(kind: str) -> dict[str, dict[str, Any]]:
    if kind != "seismic":
        return {kind: {}}
    return {f"seismic, {preset}": {"preset": preset} for preset in ("fast", "paper", "exhaustive")}


def _recall(scores: Any, truth: Any, k: int) -> float:
    """Share of the ``k`` best that were found; a hit counts if its score reaches the k-th best."""
    import numpy as np

    best = np.sort(truth)[::-1][:k]
    return float((scores >= best[-1]).sum() / len(best)) if len(best) else 1.0


def _evaluate(options: argparse.Namespace) -> None:
    from pyterrier_splare import Splare, SplareIndex
    from splare_plugins.corpus import read_documents, read_qrels, read_queries
    from splare_plugins.retrieval.evaluation import evaluate
    from splare_plugins.retrieval.indexing import document_batches, query_impacts, search_queries

    model = (Splare(options.model) if options.model else Splare()).model
    qrels, queries = read_qrels(options.collection), read_queries(options.collection)
    batches = list(document_batches(model, read_documents(options.collection)))
    impacts = query_impacts(model, queries)
    measures = ["nDCG@10", "R@100"]
    print(f"{options.collection.name}: {sum(map(len, batches)):,} documents, {len(queries):,} queries")
    print(f"{'':<22}" + "".join(f"{measure:>10}" for measure in measures))
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind in options.only:
            index = getattr(SplareIndex, kind)(Path(folder) / kind, model=model).index(iter(batches))
            for name, searching in _variants(kind).items():
                run = search_queries(index.searcher(**searching), [query.qid for query in queries], impacts, 1000)
                figures[name] = evaluate(qrels, run, measures)
                print(f"{name:<22}" + "".join(f"{figures[name][measure]:>10.4f}" for measure in measures), flush=True)
            index.close()
    distinct = {f"{found['nDCG@10']:.4f}" for name, found in figures.items() if name in EXACT}
    require_same("figures of nDCG@10 of the exact indexes", len(distinct), 1)
    print("exact indexes agree")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
