"""Hits with what the server stores, page by page; documents that count with their best passage."""

from __future__ import annotations

import numpy as np
import pytest

from opensearch_splare import SplareIndex
from opensearch_splare.writer import OpenSearchWriter
from splare_plugins.corpus import Document
from splare_plugins.errors import InputError
from tests.cli.conftest import splare

from .deploying import bulk, clean, deployed, encoder, scores
from .test_index import QUERIES, TEXTS, documents

__all__ = ["splare"]

pytestmark = pytest.mark.java


@pytest.fixture(scope="module")
def service(tiny):
    with encoder(tiny) as running:
        yield running


@pytest.fixture
def index(client, name, tiny):
    made = SplareIndex(client, name, tiny)
    made.create(fields={"year": {"type": "integer"}})
    made.index({"_id": each.docid, "text": each.text, "title": each.title, "year": 1} for each in documents())
    return made


def test_hits_are_those_of_a_search_with_what_is_stored(index):
    for hits, found in zip(index.search(QUERIES, 5), index.search_hits(QUERIES, 5), strict=True):
        assert [hit["_id"] for hit in found] == hits.docids
        assert [hit["_score"] for hit in found] == hits.scores.tolist()
        for hit in found:
            number = int(hit["_id"][1:])
            assert hit["_source"] == {"text": TEXTS[number], "title": f"title {number}", "year": 1}
    (found,) = index.search_hits(QUERIES[:1], 5, source=["year"], filter={"term": {"_id": "d0"}})
    assert [hit["_source"] for hit in found] == [{"year": 1}]
    assert "_source" not in index.search_hits(QUERIES[:1], 5, source=False)[0][0]
    assert index.search_hits([""], 5) == [[]]


def test_words_are_marked(index):
    (found,) = index.search_hits(["fox"], 10, highlight=["text", "title"])
    marked = {hit["_id"]: hit["highlight"] for hit in found if "highlight" in hit}
    assert len(found) > 1
    assert marked == {"d0": {"text": ["The quick brown <em>fox</em> jumps over the lazy dog."]}}


def test_pages_have_each_hit_once(client, name, tiny):
    index = SplareIndex(client, name, tiny)
    index.create(shards=2, replicas=0)
    index.index(Document(f"d{number}", f"about bees {number % 3}") for number in range(50))  # many ties
    whole = index.search(["bees"], 100)[0]
    pages, after = [], []
    while page := index.search_hits(["bees"], 7, after=after)[0]:
        pages += page
        after = page[-1]["sort"]
    assert [hit["_score"] for hit in pages] == whole.scores.tolist()
    assert sorted(hit["_id"] for hit in pages) == sorted(whole.docids)
    with pytest.raises(InputError, match="one query, not of 2"):
        index.search_hits(["bees", "ants"], after=[])


@pytest.mark.parametrize("k", [2.5, True, "10", 0])
def test_numbers_of_hits_that_are_none(index, k):
    for search in (index.search, index.search_hits, index.search_hybrid):
        with pytest.raises(InputError, match="number of hits"):
            search(["bees"], k)
    with pytest.raises(InputError, match="number of latents"):
        index.explain("fox", "d0", top=k)


@pytest.mark.parametrize("text", [None, float("nan"), 5, ["a", "b"]])
def test_texts_that_are_not_strings(index, text):
    wrong = [{"_id": "doc-7", "text": text}, {"_id": "doc-7", "text": "", "title": text}, Document("doc-7", text)]
    for document in wrong:
        with pytest.raises(InputError, match=r"(text|title) of the document 'doc-7' is .*; give a string"):
            index.index([document])
    with pytest.raises(InputError, match="query in place 2"):
        index.search(["fine", text])
    assert index.count() == len(TEXTS)


def test_an_index_of_passages_is_searched_and_inspected(client, name, tiny, service, opensearch_url, splare):
    deployed(client, name, service, tiny, passage_words=3)
    texts = {"a": {"text": "bees navigate by the sun and ants do not"}, "b": {"text": "bread rises"}, "c": {}}
    assert {status for status, _ in bulk(client, name, texts).values()} == {201}
    impacts = tiny.quantizer.queries(tiny.encode_queries(["bees"])).impacts.toarray()[0].astype(np.int64)
    expected = {}
    for docid in ("a", "b"):
        passages = client.get(index=name, id=docid)["_source"]["passages"]
        vectors = tiny.quantizer.documents(tiny.encode_documents(passages)).impacts.toarray().astype(np.int64)
        expected[docid] = (vectors @ impacts).max()
    expected = {docid: score for docid, score in expected.items() if score}
    for form in ("neural_sparse", "rank_feature"):
        index = SplareIndex(client, name, tiny, form=form)
        (hits,) = index.search(["bees"])
        assert dict(zip(hits.docids, hits.scores, strict=True)) == pytest.approx(expected, rel=0.02)
        assert index.search_hybrid(["bread"])[0].docids
    facts = splare("inspect", f"{opensearch_url}/{name}", "--json").facts
    assert facts["documents"] == 3
    for call in (
        lambda: index.index([Document("d", "x")]),
        lambda: index.explain("bees", "a"),
        lambda: OpenSearchWriter(f"{opensearch_url}/{name}", tiny.config, overwrite=True),
    ):
        with pytest.raises(InputError, match="a vector for each passage"):
            call()
    clean(client, name)


def test_a_hybrid_query_of_a_deployed_index(client, name, tiny, service):
    deployed(client, name, service, tiny)
    texts = ["Bees fly home.", "Ants crawl.", "Bread rises."]
    bulk(client, name, {str(number): {"text": text} for number, text in enumerate(texts)})
    sparse = {"neural_sparse": {"splare": {"query_text": "bees"}}}
    body = {"query": {"hybrid": {"queries": [{"match": {"text": "bees"}}, sparse]}}}
    hits = client.search(index=name, body=body)["hits"]["hits"]
    assert hits[0]["_id"] == "0"
    assert all(0 <= hit["_score"] <= 1 for hit in hits)
    # Other queries are left alone.
    alone = scores(client, name, {"query_text": "bees"})
    raw = client.search(index=name, body={"query": {"match": {"text": "bees"}}}, params={"search_pipeline": "_none"})
    assert (
        client.search(index=name, body={"query": {"match": {"text": "bees"}}})["hits"]["hits"] == raw["hits"]["hits"]
    )
    (here,) = SplareIndex(client, name, tiny).search(["bees"])
    assert alone == {docid: score / 4 for docid, score in zip(here.docids, here.scores, strict=True)}
    clean(client, name)


def test_the_command_searches_without_the_plugin(index, opensearch_url, splare, tmp_path, tiny_folder):
    queries = tmp_path / "queries.tsv"
    queries.write_text("1\tfox\n2\tSuchindex\n")
    runs = []
    for form in ("neural_sparse", "rank_feature"):
        run = tmp_path / f"{form}.run"
        place = f"{opensearch_url}/{index.name}"
        assert splare("search", place, queries, "-o", run, "--form", form, "--model", tiny_folder).status == 0
        runs.append(run.read_text())
    assert runs[0] == runs[1] != ""
