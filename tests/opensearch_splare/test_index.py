"""``SplareIndex`` on the real node: made, filled with texts, searched in every form, explained."""

from __future__ import annotations

import numpy as np
import pytest

from opensearch_splare import SplareIndex, neural_sparse, query_tokens, two_phase_pipeline
from opensearch_splare.writer import OpenSearchWriter
from splare_plugins.corpus import Document, EncodedBatch, Query
from splare_plugins.errors import IdentityError, InputError
from splare_plugins.retrieval.explain import explain
from splare_plugins.retrieval.indexing import document_batches, query_impacts
from tests.tiny import tiny_model

from .conftest import impacts_of, names, random_impacts

pytestmark = pytest.mark.java

TEXTS = [
    "The quick brown fox jumps over the lazy dog.",
    "Sparse autoencoders turn states into latents.",
    "Ein Suchindex findet Dokumente.",
    "搜索引擎 找到 文档 🦊",
    'quotes " and \\ and \ttabs',
    "",
]
QUERIES = ["fox", "Suchindex", "文档", "no such thing at all"]


def documents() -> list[Document]:
    return [Document(f"d{number}", text, f"title {number}") for number, text in enumerate(TEXTS)]


def products(model, queries=QUERIES):
    """Integer dot products, shape ``(queries, documents)``."""
    (batch,) = document_batches(model, documents())
    asked = query_impacts(model, [Query(str(number), text) for number, text in enumerate(queries)])
    return asked.toarray().astype(np.int64) @ batch.impacts.toarray().astype(np.int64).T


def assert_exact(answers, scores):
    for hits, row in zip(answers, scores, strict=True):
        assert hits.scores.tolist() == sorted(row[row > 0].tolist(), reverse=True)
        assert [row[int(docid[1:])] for docid in hits.docids] == hits.scores.tolist()


def encoded(impacts, prefix="d"):
    count = impacts.shape[0]
    zeros = np.zeros(count, dtype=np.int32)
    return EncodedBatch(
        docids=[f"{prefix}{number}" for number in range(count)],
        impacts=impacts,
        truncated=zeros.astype(bool),
        clipped=zeros,
        dropped=zeros,
    )


@pytest.fixture
def index(client, name, tiny):
    made = SplareIndex(client, name, tiny)
    made.create()
    made.index(documents())
    return made


@pytest.mark.parametrize("form", ["neural_sparse", "rank_feature"])
def test_texts_in_both_query_forms(index, client, tiny, form):
    assert index.count() == len(TEXTS)
    opened = SplareIndex(client, index.name, tiny, form=form)
    assert_exact(opened.search(QUERIES, 100), products(tiny))
    assert [len(hits.docids) for hits in opened.search(QUERIES, 2)] == [2] * len(QUERIES)


def test_an_empty_query_and_a_string(index):
    (hits,) = index.search([""], 5)
    assert hits.docids == []
    with pytest.raises(InputError, match="list of queries"):
        index.search("fox", 5)


def test_a_document_is_replaced_and_the_refresh_interval_comes_back(index, client, tiny):
    client.indices.put_settings(index=index.name, body={"index": {"refresh_interval": "7s"}})
    report = index.index([Document("d0", "a new text", "title")])
    assert (report.indexed, report.resumed, report.failures) == (1, 0, [])
    assert index.count() == len(TEXTS)
    assert client.get(index=index.name, id="d0")["_source"] == {"title": "title", "text": "a new text"}
    settings = client.indices.get_settings(index=index.name)[index.name]["settings"]["index"]
    assert settings["refresh_interval"] == "7s"


def test_further_fields_and_filters(client, name, tiny):
    made = SplareIndex(client, name, tiny)
    made.create(fields={"language": {"type": "keyword"}}, store_vectors=True)
    languages = ["en", "en", "de", "zh", "en", "en"]
    made.index(
        {"_id": document.docid, "text": document.text, "language": language}
        for document, language in zip(documents(), languages, strict=True)
    )
    (hits,) = made.search(["Suchindex"], 10, filter={"term": {"language": "de"}})
    assert hits.docids == ["d2"]
    (hybrid,) = made.search_hybrid(["Suchindex"], 10, filter={"term": {"language": "en"}})
    assert hybrid.docids
    assert "d2" not in hybrid.docids
    source = client.get(index=name, id="d2")["_source"]
    assert source["language"] == "de"
    assert all(isinstance(impact, int) for impact in source["splare"].values())


def test_a_two_phase_pipeline_of_the_index_does_not_change_our_searches(client, name, config):
    index = SplareIndex(client, name, config)
    index.create()
    strong, weak = [{1: 9}] * 30, [{2: 9}] * 30
    index.index_encoded([encoded(impacts_of(*strong, *weak))])
    query = impacts_of({1: 200, 2: 4})
    client.http.put(f"/_search/pipeline/{name}", body=two_phase_pipeline())
    client.indices.put_settings(index=name, body={"index": {"search.default_pipeline": name}})
    raw = {"size": 60, "query": neural_sparse("splare", query_tokens(query)[0])}
    # The pipeline is at work: documents with weak latents alone do not come.
    assert len(client.search(index=name, body=raw)["hits"]["hits"]) == 30
    assert index.search_impacts(query, 60)[0].scores.tolist() == [1800.0] * 30 + [36.0] * 30
    assert len(index.search_impacts(query, 60, two_phase=True)[0].docids) == 30
    client.indices.put_settings(index=name, body={"index": {"search.default_pipeline": None}})
    client.http.delete(f"/_search/pipeline/{name}")


def test_two_phases_find_the_same_best_documents(client, name, config):
    index = SplareIndex(client, name, config)
    index.create()
    index.index_encoded([encoded(random_impacts(500, 100))])
    queries = random_impacts(20, 30, seed=9)
    exact, quick = index.search_impacts(queries, 5), index.search_impacts(queries, 5, two_phase=True)
    same = sum(len(set(one.docids) & set(other.docids)) for one, other in zip(exact, quick, strict=True))
    assert same >= 95
    with pytest.raises(InputError, match="at most 2000 hits"):
        index.search_impacts(queries, 2001, two_phase=True)


def test_hybrid_search(index):
    answers = index.search_hybrid(["quick fox", "Suchindex"], 3, weight=0.5)
    assert answers[0].docids[0] == "d0"
    assert answers[1].docids[0] == "d2"
    for hits in answers:
        assert all(0 <= score <= 1 for score in hits.scores)
        assert hits.scores.tolist() == sorted(hits.scores, reverse=True)
    # All weight on BM25: only words count.
    (words,) = index.search_hybrid(["Suchindex"], 6, weight=0)
    assert words.scores.tolist()[1:] == [0.0] * (len(words.docids) - 1)
    # Without the latents of the query, only words are left.
    off = dict.fromkeys((f"f{latent}" for latent in range(512)), 0)
    (words,) = index.search_hybrid(["Suchindex"], 6, weight=0.9, weights=off)
    assert words.docids == ["d2"]
    with pytest.raises(InputError, match="add up to 1"):
        index.search_hybrid(["fox"], 3, weight=1.5)


@pytest.mark.parametrize("form", ["neural_sparse", "rank_feature"])
def test_explain(index, client, tiny, form):
    opened = SplareIndex(client, index.name, tiny, form=form)
    told = opened.explain("quick fox", "d0", top=5)
    assert told == explain(tiny, "quick fox", f"title 0 {TEXTS[0]}", docid="d0", top=5)
    weights = {told.matches[0].term: 0, told.matches[1].term: 2, "f3": "@80"}
    steered = opened.explain("quick fox", "d0", top=5, weights=weights)
    assert steered == explain(tiny, "quick fox", f"title 0 {TEXTS[0]}", docid="d0", top=5, weights=weights)
    (hits,) = opened.search(["quick fox"], 10, weights=weights)
    assert steered.score == dict(zip(hits.docids, hits.scores, strict=True))["d0"]
    (found,) = opened.search_hits(["quick fox"], 10, weights=weights)
    assert [hit["_score"] for hit in found] == hits.scores.tolist()
    (hits,) = opened.search(["quick fox"], 10)
    assert told.score == dict(zip(hits.docids, hits.scores, strict=True))["d0"]
    assert opened.explain("quick fox", "d5").score == products(tiny, ["quick fox"])[0][5]
    with pytest.raises(InputError, match="'nothing'"):
        opened.explain("fox", "nothing")


def test_explain_needs_the_text(client, name, tiny):
    index = SplareIndex(client, name, tiny)
    index.create()
    (batch,) = document_batches(tiny, documents())
    index.index_encoded([batch])
    with pytest.raises(InputError, match=r"no text of the document 'd0'"):
        index.explain("fox", "d0")


def test_another_model_is_refused(index, client):
    other = SplareIndex(client, index.name, tiny_model(seed=1))
    for call in (lambda: other.search(["fox"]), lambda: other.index(documents()), lambda: other.explain("fox", "d0")):
        with pytest.raises(IdentityError, match=r"seed-0.*seed-1"):
            call()


def test_texts_need_a_model(index, client):
    bare = SplareIndex(client, index.name)
    with pytest.raises(InputError, match="need a model"):
        bare.search(["fox"])
    assert bare.search_impacts(impacts_of({1: 1}, width=512))[0].scores.dtype == np.float64


def test_shards_give_the_same_answers(client, name, config):
    impacts, queries = random_impacts(300, 60), random_impacts(70, 20, seed=5)
    one, many = SplareIndex(client, name, config), SplareIndex(client, f"{name}-2", config)
    one.create(replicas=0)
    many.create(shards=3, replicas=0)
    for index in (one, many):
        index.index_encoded([encoded(impacts[:100]), encoded(impacts[100:], "e")])
    for hits, others in zip(one.search_impacts(queries, 10), many.search_impacts(queries, 10), strict=True):
        assert hits.scores.tolist() == others.scores.tolist()


def test_more_hits_than_the_window(client, name, config):
    index = SplareIndex(client, name, config)
    index.create()
    index.index_encoded([encoded(impacts_of(*[{1: number % 255 + 1} for number in range(30)]))])
    client.indices.put_settings(index=name, body={"index": {"max_result_window": 20}})
    fresh = SplareIndex(client, name, config)
    with pytest.raises(InputError, match=r"21 hits.*max_result_window"):
        fresh.search_impacts(impacts_of({1: 1}), 21)
    assert len(fresh.search_impacts(impacts_of({1: 1}), 20)[0].docids) == 20


def test_impacts_are_kept_exactly_up_to_512(client, name, config):
    index = SplareIndex(client, name, config)
    index.create()
    index.index_encoded([encoded(impacts_of(*[{1: impact} for impact in range(1, 513)]))])
    (hits,) = index.search_impacts(impacts_of({1: 4}), 512)
    assert hits.scores.tolist() == [4.0 * impact for impact in range(512, 0, -1)]


def test_delete_takes_an_index_and_an_alias(client, name, config, opensearch_url):
    index = SplareIndex(client, name, config)
    index.create()
    with pytest.raises(InputError, match="exists already"):
        index.create()
    index.delete()
    with pytest.raises(InputError, match="no index"):
        index.count()
    with OpenSearchWriter(f"{opensearch_url}/{name}", config) as writer:
        writer.add(names(2), impacts_of({1: 1}, {2: 2}))
    assert list(client.indices.get_alias(index=name)) == [f"{name}-000001"]
    published = SplareIndex(client, name, config)
    assert published.count() == 2
    published.delete()
    assert not client.indices.exists(index=f"{name}-000001")


def test_sparse_vector_needs_a_newer_server(client, name, config):
    with pytest.raises(InputError, match=r"2\.19 has no sparse_vector fields.*3\.3"):
        SplareIndex(client, name, config).create(field_type="sparse_vector", sample=impacts_of({1: 1}))
    assert not client.indices.exists(index=name)
