"""Measures, and what they do with ties and unanswered queries."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from splare_plugins.corpus import read_qrels, read_run, write_run
from splare_plugins.engines import Hits
from splare_plugins.errors import InputError
from splare_plugins.retrieval.evaluation import Coverage, coverage, evaluate, evaluate_per_query


def hits(**scores: float) -> Hits:
    return Hits(list(scores), np.array(list(scores.values()), dtype=np.float64))


QRELS = {"q1": {"a": 1, "b": 2}, "q2": {"a": 1}, "q3": {"c": 1}, "q4": {"d": 0}}
RUN = {"q1": hits(b=9, x=7, a=5), "q2": hits(x=3, a=2), "q3": hits(), "extra": hits(a=1)}


def test_figures_computed_by_hand() -> None:
    best = 2 + 1 / math.log2(3)
    per_query = {"q1": (2 + 1 / math.log2(4)) / best, "q2": 1 / math.log2(3), "q3": 0.0, "q4": 0.0}
    figures = evaluate(QRELS, RUN, ["nDCG@10", "R@100", "RR@10", "P@1"])
    assert figures["nDCG@10"] == pytest.approx(sum(per_query.values()) / 4)
    assert figures["R@100"] == pytest.approx(2 / 4)
    assert figures["RR@10"] == pytest.approx(1.5 / 4)
    assert figures["P@1"] == pytest.approx(1 / 4)
    assert list(figures) == ["nDCG@10", "R@100", "RR@10", "P@1"]
    detailed = evaluate_per_query(QRELS, RUN)
    assert list(detailed) == list(QRELS)
    assert {qid: values["nDCG@10"] for qid, values in detailed.items()} == pytest.approx(per_query)


def test_unanswered_queries_count_as_zero() -> None:
    assert evaluate(QRELS, {}) == {"nDCG@10": 0.0, "R@100": 0.0}
    assert coverage(QRELS, RUN) == Coverage(judged=4, answered=2, unanswered=2, unjudged=1)
    assert evaluate_per_query(QRELS, {})["q1"] == {"nDCG@10": 0.0, "R@100": 0.0}


@given(order=st.permutations(["a", "b", "c", "d"]))
@settings(max_examples=24, deadline=None)
def test_the_order_of_ties_in_a_run_changes_nothing(order: list[str]) -> None:
    run = {"q": Hits(order, np.full(4, 7.0))}
    figures = evaluate({"q": {"b": 1}}, run, ["nDCG@10", "RR@10", "P@1"])
    # As in trec_eval: d, c, b, a.
    assert figures == pytest.approx({"nDCG@10": 1 / math.log2(4), "RR@10": 1 / 3, "P@1": 0.0})


def test_ties_are_those_of_trec_eval() -> None:
    rng = np.random.default_rng(0)
    names = ["ä", "z", "a", "Z", "10", "9", "文", "🦊", "aa", "a-"]
    qrels = {f"q{n}": {name: int(rng.integers(0, 3)) for name in names} for n in range(30)}
    scores = {qid: {name: float(rng.integers(1, 4)) for name in names} for qid in qrels}
    theirs = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut_5"}).evaluate(scores)
    run = {qid: Hits(list(each), np.array(list(each.values()))) for qid, each in scores.items()}
    ours = evaluate_per_query(qrels, run, ["nDCG@5"])
    for qid in qrels:
        assert ours[qid]["nDCG@5"] == pytest.approx(theirs[qid]["ndcg_cut_5"])


def test_scores_beyond_32_bits_are_told_apart() -> None:
    run = {"q": Hits(["a", "b"], np.array([2.0**30 + 1, 2.0**30]))}
    assert evaluate({"q": {"a": 1}}, run, ["P@1"]) == {"P@1": 1.0}


@pytest.mark.parametrize("name", ["foo", "nDCG@x", "", "R@-1", "__import__('os')", "nDCG@10,R@5"])
def test_measures_that_are_none(name: str) -> None:
    with pytest.raises(InputError, match=r"there is no measure .*; names look like nDCG@10"):
        evaluate(QRELS, RUN, [name])


@pytest.mark.parametrize("name", ["nDCG@0", "P@0", "AP(rel=0)", "R@99999999999"])
def test_cut_offs_that_would_end_the_process(name: str) -> None:
    with pytest.raises(InputError, match=r"must be from 1 to 2\^31 - 1"):
        evaluate(QRELS, RUN, [name])


def test_names_of_trec_eval() -> None:
    ours = evaluate(QRELS, RUN, ["nDCG@10", "R@100", "RR", "AP", "P@5"])
    theirs = evaluate(QRELS, RUN, ["ndcg_cut_10", "recall_100", "recip_rank", "map", "P.5"])
    assert list(theirs) == ["ndcg_cut_10", "recall_100", "recip_rank", "map", "P.5"]
    assert list(theirs.values()) == list(ours.values())
    assert list(evaluate(QRELS, RUN, ["ndcg_cut.5,10"])) == ["nDCG@5", "nDCG@10"]


@given(grades=st.lists(st.integers(-(10**12), 3), min_size=1, max_size=4))
@settings(max_examples=40, deadline=None)
def test_any_grade_below_zero_counts_as_minus_one(grades: list[int]) -> None:
    names = "abcd"
    qrels = {"q1": dict(zip(names, grades, strict=False)), "q2": {"a": 1}}
    plain = {qid: {docid: max(grade, -1) for docid, grade in judged.items()} for qid, judged in qrels.items()}
    run = {"q1": hits(a=4, b=3, c=2, d=1), "q2": hits(a=1)}
    measures = ["nDCG@10", "AP", "Bpref", "Judged@10", "R@2"]
    assert evaluate(qrels, run, measures) == evaluate(plain, run, measures)


@pytest.mark.parametrize("grade", [2**31, 10**30, 1.5, True, "1"])
def test_grades_that_native_code_cannot_take(grade: object) -> None:
    with pytest.raises(InputError, match=r"the relevance of 'a' for the query 'q' must be a whole number up to"):
        evaluate({"q": {"a": grade}}, RUN)  # type: ignore[dict-item]


def test_measures_that_need_another_package() -> None:
    with pytest.raises(InputError, match=r"cannot compute .*alpha_nDCG@10") as caught:
        evaluate(QRELS, RUN, ["alpha_nDCG@10"])
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"cannot compute"):
        evaluate_per_query(QRELS, RUN, ["alpha_nDCG@10"])


def test_nothing_to_evaluate() -> None:
    with pytest.raises(InputError, match=r"no judgements"):
        evaluate({}, RUN)
    with pytest.raises(InputError, match=r"no measure was asked for"):
        evaluate(QRELS, RUN, [])


def test_files_give_what_objects_give(tmp_path: Path) -> None:
    write_run(tmp_path / "run", RUN)
    lines = [f"{qid} 0 {docid} {value}" for qid, judged in QRELS.items() for docid, value in judged.items()]
    (tmp_path / "qrels").write_text("\n".join(lines))
    assert evaluate(read_qrels(tmp_path / "qrels"), read_run(tmp_path / "run")) == evaluate(QRELS, RUN)
