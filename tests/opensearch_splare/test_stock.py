"""Programs that know nothing of SPLARE search our index, with queries of their own making."""

from __future__ import annotations

import numpy as np
import pytest
from sentence_transformers.sparse_encoder.search_engines import semantic_search_opensearch

from opensearch_splare import SplareIndex, query_tokens

from .conftest import impacts_of, random_impacts
from .test_index import encoded

pytestmark = pytest.mark.java


@pytest.mark.parametrize("store_vectors", [True, False])
def test_raw_bodies(client, name, config, store_vectors):
    index = SplareIndex(client, name, config)
    index.create(store_vectors=store_vectors)
    index.index_encoded([encoded(impacts_of({7: 255, 9: 3}, {9: 100}))])
    tokens = {"f7": 0.5, "f9": 63.75}
    clauses = [
        {"rank_feature": {"field": "splare.f7", "linear": {}, "boost": 0.5}},
        {"rank_feature": {"field": "splare.f9", "linear": {}, "boost": 63.75}},
    ]
    for query in ({"neural_sparse": {"splare": {"query_tokens": tokens}}}, {"bool": {"should": clauses}}):
        found = client.search(index=name, body={"query": query})["hits"]["hits"]
        assert [(hit["_id"], hit["_score"]) for hit in found] == [("d1", 6375.0), ("d0", 318.75)]
    source = client.get(index=name, id="d0")["_source"]
    assert source == ({"splare": {"f7": 255, "f9": 3}} if store_vectors else {})


def test_sentence_transformers(client, name, config):
    """Its helper searches a field called ``tokens`` and reads ids as numbers."""
    impacts, queries = random_impacts(100, 60), random_impacts(5, 30, seed=4)
    index = SplareIndex(client, name, config)
    index.create(field="tokens")
    index.index_encoded([encoded(impacts, "")])
    decoded = [list(tokens.items()) for tokens in query_tokens(queries)]
    answers, _ = semantic_search_opensearch(decoded, corpus_index=(client, name), top_k=7)
    scores = queries.toarray().astype(np.int64) @ impacts.toarray().astype(np.int64).T / 4
    for hits, row in zip(answers, scores, strict=True):
        assert [hit["score"] for hit in hits] == sorted(row.tolist(), reverse=True)[:7]
        assert [row[hit["corpus_id"]] for hit in hits] == [hit["score"] for hit in hits]
