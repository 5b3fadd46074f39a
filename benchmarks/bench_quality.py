"""nDCG@10 on all bundled collections: integer impacts against float vectors, and both beside BM25 (Lucene, English).

Encodes everything once; SciFact takes a quarter of an hour on two cores in float32, and ``--fast`` leaves it out.
``--engines`` indexes the same impacts with Lucene and in a real OpenSearch node, texts beside them, and fails if their
nDCG@10 differ in the fourth digit; hybrid is 0.7 SPLARE + 0.3 BM25 on the node.
Run ``python benchmarks/bench_quality.py [--fast] [--engines] [--dtype bfloat16]``.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from harness import Figure, add_options, disagree, require_found, write_record
from scipy.sparse import csr_array

from opensearch_splare import Node, SplareIndex, connect
from pyserini_splare import bm25_search
from splare_plugins.corpus import Document, Query, read_documents, read_qrels, read_queries
from splare_plugins.engines import Hits, get_engine
from splare_plugins.model.splare import SplareModel
from splare_plugins.retrieval.evaluation import evaluate
from splare_plugins.retrieval.indexing import search_queries

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


def index(places: Mapping[str, str], documents: Sequence[Document], impacts: csr_array, model: SplareModel) -> None:
    """Index a corpus with every engine of ``places``."""
    docids = [document.docid for document in documents]
    fields = [{"title": document.title, "text": document.text} for document in documents]
    for engine, place in places.items():
        options = {"store_text": True} if engine == "opensearch" else {}
        with get_engine(engine).writer(place, model.config, **options) as writer:
            writer.add(docids, impacts, fields)


def search_engines(
    places: Mapping[str, str], queries: Sequence[Query], impacts: csr_array, model: SplareModel
) -> list[dict[str, Hits]]:
    """Runs of Lucene, of the node, and of the node with BM25 beside."""
    qids = [query.qid for query in queries]
    runs = []
    for engine, place in places.items():
        with get_engine(engine).searcher(place) as searcher:
            runs.append(search_queries(searcher, qids, impacts, DEPTH))
    url, _, name = places["opensearch"].rpartition("/")
    with connect(url) as client:
        hybrid = SplareIndex(client, name, model).search_hybrid([query.text for query in queries], DEPTH)
    return [*runs, dict(zip(qids, hybrid, strict=True))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="leave SciFact out")
    parser.add_argument("--engines", action="store_true", help="through Lucene and an OpenSearch node too")
    parser.add_argument("--model", default="splare-e5-small")
    parser.add_argument("--languages", nargs="+", choices=LANGUAGES, default=list(LANGUAGES), help="of XQuAD")
    parser.add_argument("--queries", type=int, help="of a set; by default all")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    add_options(parser, {"fast": True, "queries": 40, "languages": ["en", "de"]})
    options = parser.parse_args()
    model = SplareModel.from_pretrained(options.model, dtype=options.dtype)
    xquad = DATA / "xquad"
    tasks = [(f"xquad {language} -> en", xquad / language, xquad / "en") for language in options.languages]
    if not options.fast:
        tasks.append(("scifact", DATA / "scifact", DATA / "scifact"))
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        url = stack.enter_context(Node(Path(folder) / "node")).url if options.engines else None
        lost = measure(tasks, model, Path(folder), url, options.queries)
    figure = Figure(
        what="nDCG@10 of floats minus that of impacts, worst of all sets",
        against="floats",
        ratio=[max(lost)],
        unit=["lost"],
        aim=0.002,
        at="most",
        command="bench_quality.py",
    )
    write_record(options, [figure])


def measure(
    tasks: list[tuple[str, Path, Path]], model: SplareModel, folder: Path, url: str | None, most: int | None
) -> list[float]:
    """What integers lose on each set."""
    lost = []
    documents: dict[Path, list[Document]] = {}
    encoded: dict[Path, csr_array] = {}
    labels = ["BM25", "float", "impacts", *(["Lucene", "OpenSearch", "hybrid"] if url else [])]
    print(f"{'':18}" + "".join(f"{label:>11}" for label in [*labels, "difference"]))
    for name, queries_from, corpus in tasks:
        places = {"lucene": str(folder / corpus.name), "opensearch": f"{url}/{corpus.name}"}
        if corpus not in encoded:
            documents[corpus] = list(read_documents(corpus))
            encoded[corpus] = model.encode_documents([document.content for document in documents[corpus]])
            if url:
                index(places, documents[corpus], model.quantizer.documents(encoded[corpus]).impacts, model)
        docids = [document.docid for document in documents[corpus]]
        qrels = read_qrels(corpus)
        queries = [query for query in read_queries(queries_from) if query.qid in qrels][:most]
        qrels = {query.qid: qrels[query.qid] for query in queries}
        asked, qids = model.encode_queries([query.text for query in queries]), [query.qid for query in queries]
        impacts = model.quantizer.queries(asked).impacts
        texts = [(document.docid, document.content) for document in documents[corpus]]
        runs = [
            bm25_search(texts, {query.qid: query.text for query in queries}, k=DEPTH),
            search(asked, encoded[corpus], qids, docids),
            search(impacts, model.quantizer.documents(encoded[corpus]).impacts, qids, docids),
            *(search_engines(places, queries, impacts, model) if url else []),
        ]
        require_found("answers", sum(len(hits.docids) for hits in runs[2].values()))
        figures = [evaluate(qrels, run, ["nDCG@10"])["nDCG@10"] for run in runs]
        lost.append(figures[1] - figures[2])
        print(f"{name:18}" + "".join(f"{figure:11.4f}" for figure in [*figures, figures[2] - figures[1]]), flush=True)
        if url and f"{figures[3]:.4f}" != f"{figures[4]:.4f}":
            disagree(f"{name}: the node's nDCG@10 is not Lucene's")
    return lost


if __name__ == "__main__":
    main()
