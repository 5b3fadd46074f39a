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
