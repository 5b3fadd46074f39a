"""Bodies of queries, and what is refused before it is sent."""

from __future__ import annotations

import math

import pytest

from opensearch_splare import hybrid_pipeline, neural_sparse, query_tokens, rank_feature, sparse_vector
from opensearch_splare.queries import check_two_phase_window, search_body, sparse_query, two_phase_pipeline
from splare_plugins.errors import InputError

from .conftest import impacts_of


def test_query_impacts_become_quarters():
    assert query_tokens(impacts_of({12: 87, 903: 1}, {}, {5: 255})) == [
        {"f12": 21.75, "f903": 0.25},
        {},
        {"f5": 63.75},
    ]


def test_neural_sparse():
    assert neural_sparse("splare", {"f12": 21.75}) == {"neural_sparse": {"splare": {"query_tokens": {"f12": 21.75}}}}


def test_rank_feature_is_linear():
    assert rank_feature("splare", {"f1": 2.0, "f2": 100.0}) == {
        "bool": {
            "should": [
                {"rank_feature": {"field": "splare.f1", "linear": {}, "boost": 2.0}},
                {"rank_feature": {"field": "splare.f2", "linear": {}, "boost": 100.0}},
            ]
        }
    }


@pytest.mark.parametrize("weight", [0, -1, 0.0, math.nan, math.inf, "1", None])
@pytest.mark.parametrize("form", ["neural_sparse", "rank_feature"])
def test_weights_that_are_refused(form, weight):
    with pytest.raises(InputError, match="'f7'"):
        sparse_query(form, "splare", {"f1": 1.0, "f7": weight}, max_clauses=1024)


def test_the_largest_weight():
    neural_sparse("splare", {"f1": 64})
    with pytest.raises(InputError, match=r"'f1' is 64\.25.*at most 64"):
        neural_sparse("splare", {"f1": 64.25})


@pytest.mark.parametrize("form", ["neural_sparse", "rank_feature"])
def test_too_many_tokens(form):
    tokens = {f"f{number}": 1.0 for number in range(1025)}
    with pytest.raises(InputError, match=r"1025 tokens.*1024.*--top-k.*max_clause_count"):
        sparse_query(form, "splare", tokens, max_clauses=1024)
    del tokens["f0"]
    sparse_query(form, "splare", tokens, max_clauses=1024)


def test_no_tokens_and_no_form():
    with pytest.raises(InputError, match="without tokens"):
        neural_sparse("splare", {})
    with pytest.raises(InputError, match="'bm25'"):
        sparse_query("bm25", "splare", {"f1": 1.0}, max_clauses=1024)


def test_sparse_vector():
    body = sparse_vector("splare", {"3": 1.0, "17": 2.0}, k=20, heap_factor=1.2, filter={"term": {"lang": "de"}})
    assert body["neural_sparse"]["splare"] == {
        "query_tokens": {"3": 1.0, "17": 2.0},
        # All tokens choose lists, not the server's ten.
        "method_parameters": {"k": 20, "top_n": 2, "heap_factor": 1.2, "filter": {"term": {"lang": "de"}}},
    }


@pytest.mark.parametrize(
    ("tokens", "options", "word"),
    [
        ({"f3": 1.0}, {}, "'f3'"),
        ({"-3": 1.0}, {}, "'-3'"),
        ({"3": 65.0}, {}, "at most 64"),
        ({"3": 1.0}, {"k": 0}, "k "),
        ({"3": 1.0}, {"top_n": 0}, "top_n"),
        ({"3": 1.0}, {"heap_factor": math.nan}, "heap_factor"),
    ],
)
def test_sparse_vector_refuses(tokens, options, word):
    with pytest.raises(InputError, match=word):
        sparse_vector("splare", tokens, **options)


def test_two_phase_pipeline():
    (processor,) = two_phase_pipeline()["request_processors"]
    assert processor["neural_sparse_two_phase_processor"]["two_phase_parameter"]["prune_ratio"] == 0.4
    for wrong in ({"prune_ratio": 1}, {"expansion_rate": 0.5}, {"max_window_size": 10}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            two_phase_pipeline(**wrong)
    check_two_phase_window(2000)
    with pytest.raises(InputError, match="at most 2000"):
        check_two_phase_window(2001)


@pytest.mark.parametrize("weights", [[0.5, 0.6], [1.2, -0.2], [math.nan, 1.0]])
def test_hybrid_weights(weights):
    hybrid_pipeline([0.3, 0.7])
    with pytest.raises(InputError, match="add up to 1"):
        hybrid_pipeline(weights)


def test_search_body():
    query = neural_sparse("splare", {"f1": 1.0})
    assert search_body(query, 3)["search_pipeline"] == "_none"
    assert "search_pipeline" not in search_body(query, 3, pipelines_known=False)
    assert search_body(query, 3, filter={"term": {"a": 1}})["query"]["bool"] == {
        "must": [query],
        "filter": [{"term": {"a": 1}}],
    }
