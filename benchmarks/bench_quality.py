"""nDCG@10 on all bundled collections: integer impacts against float vectors, and both beside BM25 (Lucene, English).

Encodes everything once; SciFact takes a quarter of an hour on two cores, and ``--fast`` leaves it out.
Run ``python benchmarks/bench_quality.py``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

from pyserini_splare import bm25_search
from splare_plugins.corpus import read_documents, read_qrels, read_queries
from splare_plugins.engines import Hits
from splare_plugins.evaluation import evaluate
from splare_plugins.model import SplareModel

DATA = Path(__file__).parents[1] / "examples" / "data"
LANGUAGES = ("en", "de", "zh", "es", "ar", "ru")
DEPTH = 100


def search(queries: csr_array, documents: csr_array, qids: list[str], docids: list[str]) -> dict[str, Hits]:
    names = np.array(docids, dtype=object)
    run = {}
    for qid, row in zip(qids, (queries.astype(np.float64) @ documents.astype(np.float64).T).toarray(), strict=True):
        best = np.argsort(-row, kind="stable")[:DEPTH]
        best = best[row[best] > 0]
        run[qid] = Hits(list(names[best]), row[best])
    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fast", action="store_true", help="leave SciFact out")
    parser.add_argument("--model", default="splare-e5-small")
    options = parser.parse_args()
    model = SplareModel.from_pretrained(options.model)
    tasks = [(f"xquad {language} -> en", DATA / "xquad" / language, DATA / "xquad" / "en") for language in LANGUAGES]
    if not options.fast:
        tasks.append(("scifact", DATA / "scifact", DATA / "scifact"))
    encoded: dict[Path, tuple[list[str], csr_array]] = {}
    texts: dict[Path, list[tuple[str, str]]] = {}
    print(f"{'':18} {'BM25':>7} {'float':>7} {'impacts':>8} {'difference':>11}")
    for name, queries_from, corpus in tasks:
        if corpus not in encoded:
            texts[corpus] = [(document.docid, document.content) for document in read_documents(corpus)]
            weights = model.encode_documents([text for _, text in texts[corpus]])
            encoded[corpus] = ([docid for docid, _ in texts[corpus]], weights)
        docids, weights = encoded[corpus]
        qrels = read_qrels(corpus)
        queries = [query for query in read_queries(queries_from) if query.qid in qrels]
        asked, qids = model.encode_queries([query.text for query in queries]), [query.qid for query in queries]
        impacts = model.quantizer.queries(asked).impacts, model.quantizer.documents(weights).impacts
        runs = [
            bm25_search(texts[corpus], {query.qid: query.text for query in queries}, k=DEPTH),
            search(asked, weights, qids, docids),
            search(*impacts, qids, docids),
        ]
        words, floats, integers = (evaluate(qrels, run, ["nDCG@10"])["nDCG@10"] for run in runs)
        print(f"{name:18} {words:7.4f} {floats:7.4f} {integers:8.4f} {integers - floats:+11.4f}", flush=True)


if __name__ == "__main__":
    main()
