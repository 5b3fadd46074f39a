"""RM3 over latents, beside the formula by hand and the one that runs inside Lucene."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyterrier as pt
import pytest

from pyterrier_splare import LatentRM3, Splare
from splare_plugins.errors import InputError
from splare_plugins.impacts import to_dicts


def ranking(*rows: tuple[str, str, float, dict[str, float]], query: dict[str, float]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["qid", "docno", "score", "toks"])
    return pt.model.add_ranks(frame.assign(query="fox", query_toks=[query] * len(frame)))


def test_the_formula_by_hand() -> None:
    frame = ranking(
        ("q", "d1", 3.0, {"f1": 6, "f2": 2, "f9": 1}),
        ("q", "d2", 1.0, {"f2": 5, "f3": 5}),
        ("q", "d3", 0.5, {"f4": 100}),
        query={"f1": 1, "f5": 3},
    )
    out = LatentRM3(fb_docs=2, fb_terms=2, original_query_weight=0.6, floats=True)(frame)
    # d1 keeps f1 6/8 and f2 2/8, times 3; d2 keeps f2 and f3 1/2 each; the model's best two are f1 2.25 and f2 1.25.
    expected = {"f1": 0.6 * 0.25 + 0.4 * 2.25 / 3.5, "f2": 0.4 * 1.25 / 3.5, "f5": 0.6 * 0.75}
    assert out["query_toks"][0] == pytest.approx(expected)
    assert list(out.columns) == ["qid", "query", "query_toks"]


def test_integers_are_the_floats_scaled_to_255() -> None:
    frame = ranking(("q", "d1", 3.0, {"f1": 1000, "f2": 1, "f3": 1}), query={"f4": 2})
    floats = LatentRM3(floats=True)(frame)["query_toks"][0]
    impacts = LatentRM3()(frame)["query_toks"][0]
    top = max(floats.values())
    assert impacts == {term: round(weight * 255 / top) for term, weight in floats.items() if weight * 255 / top >= 0.5}
    assert max(impacts.values()) == 255
    assert "f2" not in impacts
    assert {type(impact) for impact in impacts.values()} == {int}


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_the_ends_of_the_mix(weight: float) -> None:
    frame = ranking(("q", "d1", 2.0, {"f1": 3, "f2": 1}), query={"f3": 1, "f4": 1})
    out = LatentRM3(original_query_weight=weight, floats=True)(frame)["query_toks"][0]
    assert out == ({"f3": 0.5, "f4": 0.5} if weight else {"f1": 0.75, "f2": 0.25})


def test_rows_in_any_order_and_many_queries() -> None:
    one = ranking(("b", "d1", 3.0, {"f1": 6}), ("b", "d2", 1.0, {"f2": 5}), query={"f1": 1})
    other = ranking(("a", "d1", 3.0, {"f7": 6}), query={"f8": 1})
    rm3 = LatentRM3(fb_docs=1, floats=True)
    both = rm3(pd.concat([one, other]).iloc[::-1])
    assert both["qid"].tolist() == ["a", "b"]
    assert both["query_toks"].tolist() == [rm3(other)["query_toks"][0], rm3(one)["query_toks"][0]]
    assert both["query_toks"][1] == {"f1": 1.0}


def test_without_ranks_scores_decide() -> None:
    frame = ranking(("q", "d1", 1.0, {"f1": 1}), ("q", "d2", 3.0, {"f2": 1}), query={"f3": 1})
    out = LatentRM3(fb_docs=1, floats=True)(frame.drop(columns="rank"))
    assert out["query_toks"][0] == {"f2": 0.5, "f3": 0.5}


def test_a_row_without_query_tokens_has_those_of_its_query() -> None:
    frame = ranking(("q", "d1", 3.0, {"f1": 1}), ("q", "d2", 1.0, {"f2": 1}), query={"f3": 1})
    frame["query_toks"] = [float("nan"), {"f3": 1}]
    assert LatentRM3(fb_docs=1, floats=True)(frame)["query_toks"][0] == {"f1": 0.5, "f3": 0.5}


def test_ignored_latents_are_left_out_of_documents_only() -> None:
    frame = ranking(("q", "d1", 1.0, {"f1": 9, "f2": 1, "f3": 1}), query={"f1": 1})
    out = LatentRM3(fb_terms=2, ignore=["f1"], floats=True)(frame)
    assert out["query_toks"][0] == {"f1": 0.5, "f2": 0.25, "f3": 0.25}


def test_documents_without_latents_leave_the_query() -> None:
    frame = ranking(("q", "d1", 0.0, {}), query={"f1": 2, "f2": 1})
    assert LatentRM3()(frame)["query_toks"][0] == {"f1": 255, "f2": 128}


def test_an_empty_query_takes_the_documents() -> None:
    frame = ranking(("q", "d1", 1.0, {"f1": 2}), query={})
    assert LatentRM3()(frame)["query_toks"][0] == {"f1": 255}
    assert LatentRM3()(ranking(("q", "d1", 1.0, {}), query={}))["query_toks"][0] == {}


def test_in_a_pipeline(splare: Splare, results: pd.DataFrame) -> None:
    search = splare.query_encoder() >> splare.doc_encoder() >> splare.scorer()
    out = (search >> splare.rm3(fb_docs=2, fb_terms=5))(results)
    assert out["qid"].tolist() == ["q1", "q2", "q3"]
    before = splare.query_encoder()(out)["query_toks"]
    assert all(one != other for one, other in zip(out["query_toks"], before, strict=True))
    again = out.merge(results[["qid", "docno", "text"]], on="qid")
    assert splare.scorer()(again)["score"].max() > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"toks": [{"fox": 1}]}, "'fox' is not a pseudo-term of a latent"),
        ({"toks": [{3: 1}]}, "'3' is not a pseudo-term of a latent"),
        ({"query_toks": [{"##ing": 1.0}]}, "'##ing' is not a pseudo-term"),
        ({"query_toks": [None]}, "the query_toks of qid 'q' are None, not a dictionary of latents; encode them first"),
        ({"toks": [float("nan")]}, "the toks of docno 'd1' are nan, not a dictionary of latents; encode them first"),
        ({"toks": [{"f1": float("nan")}]}, "docno 'd1': the weight of f1 must be a finite number > 0, not nan"),
        ({"query_toks": [{"f1": -1}]}, "query_toks of qid 'q': the weight of f1 must be a finite number > 0, not -1"),
        ({"score": [-0.5]}, "qid 'q', docno 'd1': the score -0.5 is not a finite number >= 0"),
        ({"score": [float("nan")]}, "the score nan is not"),
    ],
)
def test_what_is_refused(changes: dict[str, list[Any]], message: str) -> None:
    frame = ranking(("q", "d1", 1.0, {"f1": 1}), query={"f1": 1}).assign(**changes)
    with pytest.raises(InputError, match=message):
        LatentRM3()(frame)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fb_docs": 0}, "fb_docs and fb_terms must be at least 1, not 0 and 10"),
        ({"fb_terms": 0}, "not 10 and 0"),
        ({"original_query_weight": 1.5}, "must be between 0 and 1, not 1.5"),
    ],
)
def test_settings_out_of_range(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        LatentRM3(**settings)


@pytest.mark.java
@pytest.mark.parametrize("max_share", [0.05, 1.0])
def test_the_same_expansion_as_inside_lucene(tmp_path: Path, max_share: float) -> None:
    from pyserini_splare import LuceneSearcher, rm3, start_jvm
    from tests.pyserini_splare.conftest import names, random_impacts, write

    start_jvm()
    documents, queries = random_impacts(300, 30, top=100), to_dicts(random_impacts(8, 8, seed=1))
    write(tmp_path / "index", documents, store_vectors=True)
    vectors = dict(zip(names(300), to_dicts(documents), strict=True))
    with LuceneSearcher(tmp_path / "index") as searcher:
        rows = [
            {"qid": str(number), "query_toks": query, "docno": docno, "score": score, "toks": vectors[docno]}
            for number, query in enumerate(queries)
            for docno, score in zip(*searcher.search_dicts([query], 50)[0], strict=True)
        ]
        common = [f"f{latent}" for latent in range(500) if searcher.document_frequency(f"f{latent}") > max_share * 300]
        assert bool(common) == (max_share < 1)
        settings = {"fb_docs": 5, "fb_terms": 12, "original_query_weight": 0.3}
        expanded = LatentRM3(**settings, ignore=common, floats=True)(pd.DataFrame(rows))  # type: ignore[arg-type]
        expected = rm3(searcher, queries, 50, **settings, max_share=max_share)  # type: ignore[arg-type]
        for mine, theirs in zip(searcher.search_dicts(expanded["query_toks"].tolist(), 50), expected, strict=True):
            assert mine.docids == theirs.docids
            assert mine.scores.tolist() == theirs.scores.tolist()


@pytest.mark.parametrize("floats", [False, True])
def test_scores_that_are_all_0_leave_the_query(floats: bool) -> None:
    frame = ranking(("q", "d1", 0.0, {"f1": 3}), ("q", "d2", 0.0, {"f2": 4}), query={"f1": 1, "f5": 3})
    out = LatentRM3(floats=floats, original_query_weight=0.5)(frame)["query_toks"][0]
    assert out == ({"f1": 0.125, "f5": 0.375} if floats else {"f1": 85, "f5": 255})
    assert LatentRM3(original_query_weight=0)(frame)["query_toks"][0] == {}
