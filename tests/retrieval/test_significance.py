"""Paired tests of runs: against their definitions, and what they do at the edges."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from splare_plugins.engines import Hits
from splare_plugins.errors import InputError
from splare_plugins.retrieval.evaluation import evaluate_per_query
from splare_plugins.retrieval.significance import compare, holm


def ranked(*docids: str) -> Hits:
    return Hits(list(docids), np.arange(len(docids), 0, -1, dtype=np.float64))


QRELS = {f"q{number}": {"a": 1} for number in range(8)}
BASE = {qid: ranked("x", "y", "z", "a") for qid in QRELS}
BETTER = {qid: ranked(*["x"] * (number % 3 > 1), "a") for number, qid in enumerate(QRELS)}
MIXED = {qid: ranked("x", "y", "z", *["w"] * (number % 2), "a") for number, qid in enumerate(QRELS)}
MIXED["q0"] = ranked("a")
del MIXED["q7"]


def test_p_values_are_those_of_the_definitions() -> None:
    others = {"better": BETTER, "mixed": MIXED}
    found = {(each.run, each.measure): each for each in compare(QRELS, BASE, others, ["RR@10", "R@3"])}
    assert len(found) == 4
    base = evaluate_per_query(QRELS, BASE, ["RR@10"])
    for name, run in others.items():
        values = evaluate_per_query(QRELS, run, ["RR@10"])
        differences = np.array([values[qid]["RR@10"] - base[qid]["RR@10"] for qid in QRELS])
        each = found[name, "RR@10"]
        assert each.difference == pytest.approx(differences.mean())
        assert each.mean - each.baseline == pytest.approx(each.difference)
        assert each.t_p == pytest.approx(stats.ttest_1samp(differences, 0).pvalue)
        # All 256 ways to swap the two runs at some of the queries.
        means = np.array([(differences * signs).mean() for signs in itertools.product((1, -1), repeat=8)])
        one_sided = min((means >= differences.mean() - 1e-12).mean(), (means <= differences.mean() + 1e-12).mean())
        assert each.randomisation_p == pytest.approx(min(1, 2 * one_sided))
    assert (found["mixed", "RR@10"].wins, found["mixed", "RR@10"].ties, found["mixed", "RR@10"].losses) == (1, 3, 4)
    assert found["better", "RR@10"].wins == 8


def test_the_same_figures_again_and_a_run_beside_itself() -> None:
    many = {f"q{number}": {"a": 1} for number in range(60)}
    runs = [
        {qid: ranked(*"xyzw"[: int(rng.integers(0, 5))], "a") for qid in many}
        for rng in map(np.random.default_rng, (0, 1))
    ]
    first, again = (compare(many, runs[0], {"other": runs[1]}) for _ in range(2))
    assert first == again
    assert 0 < first[0].randomisation_p < 1
    assert first[0].randomisation_p == pytest.approx(first[0].t_p, abs=0.05)
    (same,) = compare(many, runs[0], {"same": runs[0]}, ["RR@10"])
    assert (same.wins, same.ties, same.losses) == (0, 60, 0)
    assert same.t_p == same.randomisation_holm == 1


def test_the_correction_of_holm() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
    worse = {qid: ranked("x") for qid in QRELS}
    found = compare(QRELS, BASE, {"better": BETTER, "worse": worse}, ["RR@10"])
    assert [each.t_holm for each in found] == holm([each.t_p for each in found])
    assert [each.randomisation_holm for each in found] == holm([each.randomisation_p for each in found])


def test_one_query_is_too_few() -> None:
    with pytest.raises(InputError, match="judge two or more"):
        compare({"q0": {"a": 1}}, BASE, {"better": BETTER})
