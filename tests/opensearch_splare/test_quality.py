"""Real collections, cut, on the node and in Lucene: the same scores, so the same nDCG@10 to every digit.

``benchmarks/bench_quality.py --engines`` does it with the complete collections.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from opensearch_splare import SplareIndex
from splare_plugins.corpus import read_documents, read_qrels, read_queries
from splare_plugins.engines import get_engine
from splare_plugins.retrieval.evaluation import evaluate
from splare_plugins.retrieval.indexing import document_batches, query_impacts, search_queries

DATA = Path(__file__).parents[2] / "examples" / "data"
DOCUMENTS, QUERIES = 24, 20


@pytest.mark.java
@pytest.mark.model
@pytest.mark.slow
@pytest.mark.parametrize(("corpus", "questions"), [("xquad/en", "xquad/de"), ("scifact", "scifact")])
def test_ndcg_equals_lucenes(client, name, builtin, tmp_path, corpus, questions):
    # What answers the first claims stands anywhere in SciFact, so it comes before the documents that answer none.
    qrels = dict(list(read_qrels(DATA / questions).items())[:QUERIES])
    relevant = {docid for judged in qrels.values() for docid in judged}
    documents = sorted(read_documents(DATA / corpus), key=lambda document: document.docid not in relevant)[:DOCUMENTS]
    queries = [query for query in read_queries(DATA / questions) if query.qid in qrels]
    batches = list(document_batches(builtin, documents, store_text=True))
    impacts = query_impacts(builtin, queries)
    qids = [query.qid for query in queries]

    index = SplareIndex(client, name, builtin)
    index.create()
    assert index.index_encoded(batches).indexed == DOCUMENTS
    engine = get_engine("lucene")
    with engine.writer(str(tmp_path / "lucene"), builtin.config) as writer:
        for batch in batches:
            writer.add(batch.docids, batch.impacts)
    with engine.searcher(str(tmp_path / "lucene")) as searcher:
        expected = search_queries(searcher, qids, impacts, 100)
    found = dict(zip(qids, index.search_impacts(impacts, 100), strict=True))
    for qid, hits in found.items():
        assert hits.scores.tolist() == expected[qid].scores.tolist()
    measures = ["nDCG@10", "R@100"]
    assert evaluate(qrels, found, measures) == evaluate(qrels, expected, measures)
    assert evaluate(qrels, found)["nDCG@10"] > 0.5
    # Texts beside the vectors: the hybrid search runs on the same index.
    hybrid = dict(zip(qids, index.search_hybrid([query.text for query in queries], 10), strict=True))
    assert evaluate(qrels, hybrid)["nDCG@10"] > 0.5
