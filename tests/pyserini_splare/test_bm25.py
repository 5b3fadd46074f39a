"""The baseline over words."""

from __future__ import annotations

import math

import pytest

from pyserini_splare import bm25_search
from splare_plugins.engines import get_text_engine
from splare_plugins.errors import InputError

pytestmark = [pytest.mark.java, pytest.mark.usefixtures("jvm")]

DOCUMENTS = [
    ("stem", "Indexes were searched by the runners"),
    ("once", "A search for the cat"),
    ("none", "Nothing to see"),
    ("empty", ""),
]


def test_words_are_stemmed_and_common_ones_left_out() -> None:
    run = bm25_search(DOCUMENTS, {"1": "searching", "2": "the", "3": "", "4": "elephant"}, k=10)
    assert set(run["1"].docids) == {"stem", "once"}
    assert [run[qid].docids for qid in "234"] == [[], [], []]


def test_scores_follow_the_formula() -> None:
    """Lengths below 40 words are kept exactly by Lucene, so the formula can be checked."""
    documents = [("a", "cat " * 3 + "dog " * 5), ("b", "cat dog"), ("c", "bird " * 6)]
    hits = bm25_search(documents, {"q": "cat"}, k=10)["q"]
    idf = math.log(1 + (3 - 2 + 0.5) / (2 + 0.5))
    mean = (8 + 2 + 6) / 3
    scores = {
        docid: idf * tf / (tf + 0.9 * (1 - 0.4 + 0.4 * length / mean))
        for docid, tf, length in (("a", 3, 8), ("b", 1, 2))
    }
    assert hits.docids == ["a", "b"]
    assert hits.scores.tolist() == pytest.approx([scores["a"], scores["b"]], rel=1e-6)


def test_other_languages() -> None:
    documents = [("haus", "Die Häuser der Stadt"), ("baum", "Bäume im Wald")]
    assert bm25_search(documents, {"q": "Haus"}, language="de")["q"].docids == ["haus"]
    assert bm25_search([("x", "搜索引擎")], {"q": "引擎"}, language="zh")["q"].docids == ["x"]
    with pytest.raises(InputError, match="'tlh'"):
        bm25_search(documents, {"q": "Haus"}, language="tlh")


def test_no_documents() -> None:
    assert bm25_search([], {"q": "word"})["q"].docids == []
    with pytest.raises(InputError):
        bm25_search(DOCUMENTS, {"q": "cat"}, k=0)


def test_through_the_registry() -> None:
    documents = [("haus", "Die Häuser der Stadt"), ("baum", "Bäume im Wald"), ("stadt", "Haus und Stadt")]
    found = get_text_engine("lucene").bm25(documents, {"q": "Haus", "r": "Wald"}, 1, language="de")
    assert {qid: hits.docids for qid, hits in found.items()} == {"q": ["haus"], "r": ["baum"]}
