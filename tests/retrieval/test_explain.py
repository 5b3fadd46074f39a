"""What an index answers, taken apart as far as the index tells."""

from __future__ import annotations

import pytest

from splare_plugins.corpus import Document
from splare_plugins.engines import get_engine
from splare_plugins.engines.memory import MemorySearcher
from splare_plugins.errors import InputError
from splare_plugins.retrieval.explain import Explainer, explain, explain_hit, explain_ranking
from splare_plugins.retrieval.indexing import document_batches
from tests.tiny import TEXTS

QUERY = "the quick fox"


@pytest.fixture
def searcher(tiny, tmp_path):
    with get_engine("memory").writer(str(tmp_path / "index"), tiny.config) as writer:
        for batch in document_batches(tiny, [Document(f"d{n}", text) for n, text in enumerate(TEXTS)]):
            writer.add(batch.docids, batch.impacts)
    with MemorySearcher(str(tmp_path / "index")) as searcher:
        yield searcher


def texts(docid: str) -> str:
    return TEXTS[int(docid[1:])]


@pytest.mark.parametrize("weights", [None, {"f1": 0, "f7": "@90"}])
def test_a_ranking_is_that_of_the_index_and_each_document_is_explained(tiny, searcher, weights):
    explainer = Explainer(tiny, QUERY, top=4, weights=weights)
    told = explain_ranking(searcher, explainer, k=3, text_of=texts)
    (hits,) = searcher.search(explainer.impacts, 3)
    assert [(each.docid, each.score) for each in told.documents] == list(zip(hits.docids, hits.scores, strict=True))
    for each in told.documents:
        assert each == explain(tiny, QUERY, texts(each.docid), docid=each.docid, top=4, weights=weights)
    assert all(docid in told.to_html() for docid in hits.docids)


def test_an_index_without_texts_tells_what_it_can(tiny, searcher):
    told = explain_ranking(searcher, Explainer(tiny, QUERY), k=2)
    for each in told.documents:
        whole = explain(tiny, QUERY, texts(each.docid))
        assert (each.score, each.document) == (whole.score, None)
        assert [match.contribution for match in each.matches] == [match.contribution for match in whole.matches]
        assert "not at hand" in each.notes[0]


def test_an_index_that_gives_neither_text_nor_impacts_gives_scores(tiny, searcher, monkeypatch):
    monkeypatch.setattr(MemorySearcher, "vector", lambda self, docid: None)
    told = explain_ranking(searcher, Explainer(tiny, QUERY), k=2)
    assert [each.matches for each in told.documents] == [[], []]
    assert all(each.score > 0 and "nothing but its score" in each.notes[0] for each in told.documents)
    with pytest.raises(InputError, match="'d1'"):
        explain_hit(searcher, Explainer(tiny, QUERY), "d1")


def test_a_text_that_is_not_the_one_indexed_is_told(tiny, searcher, monkeypatch):
    monkeypatch.setattr(MemorySearcher, "vector", lambda self, docid: None)
    explainer = Explainer(tiny, QUERY)
    (first,) = explain_ranking(searcher, explainer, k=1, text_of=lambda docid: "another text").documents
    assert "another text was indexed" in first.notes[-1]


def test_no_document_at_all(tiny, searcher):
    told = explain_ranking(searcher, Explainer(tiny, ""), k=3)
    assert (told.documents, told.notes) == ([], ["The index has no document for this query."])
    assert told.notes[0] in told.to_html()


def test_a_document_that_is_not_there(tiny, searcher):
    with pytest.raises(InputError, match="'nobody'"):
        explain_hit(searcher, Explainer(tiny, QUERY), "nobody")
