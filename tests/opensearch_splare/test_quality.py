"""German questions find English paragraphs as well as in the exact engine."""

from __future__ import annotations

from pathlib import Path

import ir_measures
import pytest
from ir_measures import nDCG

from opensearch_splare import SplareIndex
from splare_plugins.corpus import read_documents, read_qrels, read_queries
from splare_plugins.engines import get_engine
from splare_plugins.indexing import encode_documents, encode_queries, search_queries

DATA = Path(__file__).parents[2] / "examples" / "data" / "xquad"
DOCUMENTS = 24


@pytest.mark.java
@pytest.mark.model
@pytest.mark.slow
def test_ndcg_equals_that_of_the_memory_engine(client, name, builtin, tmp_path):
    documents = [document for document, _ in zip(read_documents(DATA / "en"), range(DOCUMENTS), strict=False)]
    kept = {document.docid for document in documents}
    judged = read_qrels(DATA / "de")
    qrels = {qid: docs for qid, docs in judged.items() if docs.keys() & kept}
    queries = [query for query in read_queries(DATA / "de") if query.qid in qrels][:40]
    batches = list(encode_documents(builtin, documents, store_text=True))
    impacts = encode_queries(builtin, queries)
    qids = [query.qid for query in queries]

    index = SplareIndex(client, name, builtin)
    index.create()
    assert index.index_encoded(batches).indexed == DOCUMENTS
    engine = get_engine("memory")
    with engine.writer(str(tmp_path / "memory"), builtin.config) as writer:
        for batch in batches:
            writer.add(batch.docids, batch.impacts)
    with engine.searcher(str(tmp_path / "memory")) as searcher:
        exact = search_queries(searcher, qids, impacts, 100)
    found = dict(zip(qids, index.search_impacts(impacts, 100), strict=True))
    for qid, hits in found.items():
        assert hits.scores.tolist() == exact[qid].scores.tolist()
    ndcg, expected = (_ndcg({qid: qrels[qid] for qid in qids}, run) for run in (found, exact))
    assert round(ndcg, 4) == round(expected, 4)
    assert ndcg > 0.5
    # Texts beside the vectors: the hybrid search runs on the same index.
    hybrid = dict(zip(qids, index.search_hybrid([query.text for query in queries], 10), strict=True))
    assert _ndcg({qid: qrels[qid] for qid in qids}, hybrid) > 0.5


def _ndcg(qrels, run) -> float:
    scores = {qid: dict(zip(hits.docids, hits.scores.tolist(), strict=True)) for qid, hits in run.items()}
    return ir_measures.calc_aggregate([nDCG @ 10], qrels, scores)[nDCG @ 10]
