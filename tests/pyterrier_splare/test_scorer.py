"""Results to scores, beside dense integer products."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyterrier as pt
import pytest

from pyterrier_splare import Splare, scorer
from splare_plugins.model.splare import SplareModel
from tests.pyterrier_splare.test_encoders import Counting
from tests.tiny import TEXTS


def products(model: SplareModel, queries: list[str], documents: list[str], **top_k: int | None) -> np.ndarray:
    """Integer dot products of rows."""
    quantizer = model.quantizer
    one = quantizer.queries(model.encode_queries(queries, top_k=top_k.get("query", "model"))).impacts  # type: ignore[arg-type]
    other = quantizer.documents(model.encode_documents(documents, top_k=top_k.get("doc", "model"))).impacts  # type: ignore[arg-type]
    return (one.toarray().astype(np.int64) * other.toarray().astype(np.int64)).sum(1)


def test_scores_are_the_integer_products(splare: Splare, results: pd.DataFrame) -> None:
    shuffled = results.sample(frac=1.0, random_state=0)
    out = splare.scorer()(shuffled)
    expected = products(splare.model, shuffled["query"].tolist(), shuffled["text"].tolist())
    assert expected.max() > 1000
    assert out["score"].tolist() == expected.tolist()
    assert out.index.equals(shuffled.index)


def test_ranks_begin_at_0_and_fall_with_the_score(splare: Splare, results: pd.DataFrame) -> None:
    for _, group in splare.scorer()(results).groupby("qid"):
        assert group.sort_values("score", ascending=False)["rank"].tolist() == list(range(len(TEXTS)))


def test_top_k_of_both_sides(splare: Splare, results: pd.DataFrame) -> None:
    out = splare.scorer(query_top_k=2, doc_top_k=9)(results)
    expected = products(splare.model, results["query"].tolist(), results["text"].tolist(), query=2, doc=9)
    assert out["score"].tolist() == expected.tolist()
    assert out["score"].tolist() != splare.scorer()(results)["score"].tolist()


def test_floats(splare: Splare, results: pd.DataFrame) -> None:
    out = splare.scorer(floats=True)(results)
    one = splare.model.encode_queries(results["query"].tolist()).toarray()
    other = splare.model.encode_documents(results["text"].tolist()).toarray()
    np.testing.assert_allclose(out["score"], (one * other).sum(1), rtol=1e-4)


def test_each_query_and_each_document_is_encoded_once(tiny: SplareModel, results: pd.DataFrame) -> None:
    counting = Counting(tiny)
    Splare(counting).scorer()(results)  # type: ignore[arg-type]
    assert len(results) == 15
    assert counting.texts == [*results["query"].unique(), *TEXTS]


def test_small_windows_and_products_in_parts(
    splare: Splare, results: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = splare.scorer()(results)
    monkeypatch.setattr(scorer, "_ROWS_AT_ONCE", 4)
    pd.testing.assert_frame_equal(splare.scorer(batch_size=2)(results), expected)


def test_tokens_that_are_there_are_used(tiny: SplareModel, results: pd.DataFrame) -> None:
    counting = Counting(tiny)
    splare = Splare(counting)  # type: ignore[arg-type]
    expected = splare.scorer()(results)["score"].tolist()
    encoded = (splare.query_encoder() >> splare.doc_encoder())(results)
    counting.texts.clear()
    assert splare.scorer()(encoded)["score"].tolist() == expected
    assert counting.texts == []
    only_queries = encoded.drop(columns="toks")
    assert splare.scorer()(only_queries)["score"].tolist() == expected
    assert counting.texts == TEXTS


def test_float_tokens_of_feedback_are_used(splare: Splare, results: pd.DataFrame) -> None:
    frame = results.assign(query_toks=[{"f1": 0.5, "f9": 2}] * 15, toks=[{"f1": 4, "f9": 10, "f3": 7}] * 15)
    assert set(splare.scorer()(frame)["score"]) == {22.0}


def test_an_empty_query_scores_0(splare: Splare, documents: pd.DataFrame) -> None:
    frame = pd.DataFrame({"qid": ["1"], "query": [""]}).merge(documents, how="cross")
    assert set(splare.scorer()(frame)["score"]) == {0.0}


def test_scores_beyond_float32_are_exact(splare: Splare) -> None:
    frame = pd.DataFrame({"qid": ["1"], "docno": ["d"]})
    frame = frame.assign(query_toks=[{"f1": 255, "f2": 1}], toks=[{"f1": 2**24, "f2": 1}])
    assert pt.model.add_ranks(frame.assign(score=0.0))["rank"][0] == 0
    assert splare.scorer()(frame)["score"][0] == 255 * 2**24 + 1


def test_rows_without_tokens_have_those_of_the_same_query_and_document(splare: Splare, results: pd.DataFrame) -> None:
    """A union of two rankings leaves NaN where only one of them encoded."""
    expected = splare.scorer()(results)["score"].tolist()
    encoded = (splare.query_encoder(query_top_k=2) >> splare.doc_encoder())(results)
    sparse = splare.scorer()(encoded)["score"].tolist()
    assert sparse != expected
    holes = encoded.astype({"query": object})
    holes.loc[holes.index % 2 == 0, ["query_toks", "toks"]] = None
    holes.loc[holes["docno"] == "d3", "toks"] = float("nan")
    assert splare.scorer()(holes)["score"].tolist() == sparse
    holes = results.astype({"query": object})
    holes.loc[holes["docno"] != "d1", "query"] = float("nan")
    assert splare.scorer()(holes)["score"].tolist() == expected
