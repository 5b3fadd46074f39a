"""The built-in model on complete collections, nDCG@10: beside BM25, its dense backbone and others; what pruning costs.

``python benchmarks/bench_small_model.py DATA [--before FOLDER] [--splade FOLDER] [--sets NAME ...]``: DATA holds BEIR
folders. Impacts at 40/400 are searched with Lucene, everything else exactly in memory; BM25 is Lucene's with its
default English (Chinese, ...) analysis, k1 0.9, b 0.4, title and text in one field. Fusion: the scores of the 100 best
hits of each, min-max normalised, added. ``--before`` adds another model, such as the untrained one.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from harness import Figure, add_options, require_close, require_found, write_record
from scipy.sparse import csr_array

from pyserini_splare import bm25_search
from splare_plugins.corpus import read_documents, read_qrels, read_queries
from splare_plugins.engines import Hits, get_engine
from splare_plugins.impacts import keep_largest
from splare_plugins.model.dense import dense_vectors
from splare_plugins.model.splare import SplareModel
from splare_plugins.retrieval.evaluation import evaluate
from splare_plugins.retrieval.fusion import fuse
from splare_plugins.retrieval.indexing import search_queries

ENGLISH = ("scifact", "xquad/en", "cranfield", "cacm", "vaswani")
ASKING = ("de", "es", "ar", "ru", "zh")
BUDGETS = {"all": (None, None), "40/400": (40, 400), "40/100": (40, 100)}
DEPTH = 100
DATA = Path(__file__).parents[1] / "examples" / "data"
OURS = "SPLARE 40/400"
Run = dict[str, Hits]


def best(scores: np.ndarray, qids: Sequence[str], docids: Sequence[str]) -> Run:
    names = np.array(docids, dtype=object)
    run = {}
    for qid, row in zip(qids, scores, strict=True):
        order = np.argsort(-row, kind="stable")[:DEPTH]
        order = order[row[order] > 0]
        run[qid] = Hits(list(names[order]), row[order].astype(np.float64))
    return run


def lucene(model: SplareModel, docids: list[str], documents: csr_array, qids: list[str], queries: csr_array) -> Run:
    with tempfile.TemporaryDirectory() as folder:
        engine = get_engine("lucene")
        with engine.writer(f"{folder}/index", model.config) as writer:
            writer.add(docids, model.quantizer.documents(documents).impacts)
        with engine.searcher(f"{folder}/index") as searcher:
            return search_queries(searcher, qids, model.quantizer.queries(queries).impacts, DEPTH)


class Collection:
    """Documents of a set, encoded once, and the queries of one or more sets against them."""

    def __init__(self, folder: Path, most: int | None = None) -> None:
        documents = list(read_documents(folder))
        self.docids = [document.docid for document in documents]
        self.texts = [document.content for document in documents]
        self.qrels = dict(list(read_qrels(folder).items())[:most])

    def queries(self, folder: Path) -> tuple[list[str], list[str]]:
        """Ids and texts of the judged queries."""
        asked = [query for query in read_queries(folder) if query.qid in self.qrels]
        return [query.qid for query in asked], [query.text for query in asked]

    def measure(self, run: Run) -> float:
        """Its nDCG@10."""
        return evaluate(self.qrels, run, ["nDCG@10"])["nDCG@10"]


def encode(model: SplareModel, texts: list[str], side: str) -> csr_array:
    return getattr(model, f"encode_{side}")(texts, top_k=None)


def measure(
    name: str, corpus: Collection, asked: Path, models: dict[str, SplareModel], held: dict
) -> dict[str, float]:
    qids, queries = corpus.queries(asked)
    figures: dict[str, float] = {}
    bm25 = bm25_search(
        list(zip(corpus.docids, corpus.texts, strict=True)), dict(zip(qids, queries, strict=True)), k=DEPTH
    )
    figures["BM25"] = corpus.measure(bm25)
    dense = models["dense"]
    if "dense" not in held:
        held["dense"] = dense_vectors(dense, corpus.texts, "document")
    figures["dense"] = corpus.measure(
        best(dense_vectors(dense, queries, "query") @ held["dense"].T, qids, corpus.docids)
    )
    for label, model in models.items():
        if label == "dense" or (label == "SPLADE" and asked.name != "en" and asked.parent.name == "xquad"):
            continue
        if label not in held:
            held[label] = encode(model, corpus.texts, "documents")
        weights = encode(model, queries, "queries")
        if label == "SPLADE":
            figures[label] = corpus.measure(best((weights @ held[label].T).toarray(), qids, corpus.docids))
            continue
        for budget, (query_top_k, document_top_k) in BUDGETS.items():
            documents, cut = keep_largest(held[label], document_top_k), keep_largest(weights, query_top_k)
            if budget == "40/400":
                run = lucene(model, corpus.docids, documents, qids, cut)
                impacts = model.quantizer.queries(cut).impacts, model.quantizer.documents(documents).impacts
                exact = best((impacts[0] @ impacts[1].T).toarray(), qids, corpus.docids)
                require_found("answers", sum(len(hits.docids) for hits in run.values()))
                # Documents that tie may change places.
                require_close(f"nDCG@10 of {name}", corpus.measure(run), corpus.measure(exact), absolute=0.002)
                figures[f"{label} + BM25"] = corpus.measure(fuse([run, bm25], "minmax"))
            else:
                impacts = model.quantizer.queries(cut).impacts, model.quantizer.documents(documents).impacts
                run = best((impacts[0] @ impacts[1].T).toarray(), qids, corpus.docids)
            figures[f"{label} {budget}"] = corpus.measure(run)
        figures[f"{label} latents"] = held[label].nnz / len(corpus.docids)
        figures[f"{label} query latents"] = weights.nnz / len(qids)
    print(f"{name:12}", "  ".join(f"{key} {value:.4f}" for key, value in figures.items()), flush=True)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", default=DATA, help="by default the sets of examples/data")
    parser.add_argument("--model", default="splare-e5-small")
    parser.add_argument("--before", help="folder of another model, such as the untrained one")
    parser.add_argument("--dense", help="folder of a model whose backbone has no adapter; else --before")
    parser.add_argument("--splade", help="folder of a SPLADE model")
    parser.add_argument("--sets", nargs="+", default=[*ENGLISH, *(f"xquad/{language}" for language in ASKING)])
    parser.add_argument("--queries", type=int, help="of a set; by default all")
    parser.add_argument("--dtype", default="float32")
    add_options(parser, {"sets": ["xquad/de"], "queries": 40})
    options = parser.parse_args()
    names = {"dense": options.dense or options.before or options.model, "before": options.before}
    names |= {"SPLADE": options.splade, "SPLARE": options.model}
    models = {
        label: SplareModel.from_pretrained(name, dtype=options.dtype)
        for label, name in names.items()
        if name is not None
    }
    for label in models.keys() & {"before", "SPLARE"}:
        _ = models[label].quantizer  # refuses a model without scales before everything is encoded
    figures, corpora, held = {}, {}, {}
    for name in options.sets:
        place = "xquad/en" if name.startswith("xquad/") else name
        if place not in corpora:
            corpora, held = {place: Collection(options.data / place, options.queries)}, {}
        figures[name] = measure(name, corpora[place], options.data / name, models, held)
    mean = {system: float(np.mean([figures[name][system] for name in figures])) for system in ("BM25", "dense", OURS)}
    rows = [
        Figure(
            what=f"nDCG@10 of the built-in model, mean of {len(figures)} sets",
            against=against,
            ratio=[mean[OURS] - mean[against]],
            unit=["more"],
            aim=0,
            command="bench_small_model.py DATA",
        )
        for against in ("BM25", "dense")
    ]
    write_record(options, rows, sets=figures)


if __name__ == "__main__":
    main()
