"""Whether one run is better than another: paired tests over the queries, corrected for how many there are."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from splare_plugins.errors import InputError
from splare_plugins.retrieval.evaluation import DEFAULT_MEASURES, Qrels, Run, evaluate_per_query

SEED = 42
RESAMPLES = 9999
_BATCH = 500
_FEWEST = 2

Values = Mapping[str, Mapping[str, float]]
"""Measures by query, as ``evaluate_per_query`` gives them."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A run beside the baseline, by one measure.

    Attributes:
        run: its name.
        measure: the measure's name.
        mean: over all judged queries; one without an answer counts as 0.
        baseline: likewise of the baseline.
        difference: the first less the second.
        wins: queries at which the run is better.
        ties: queries at which both are the same.
        losses: queries at which the baseline is better.
        t_p: two-sided p of the paired t-test.
        t_holm: likewise, after Holm's correction over all comparisons.
        randomisation_p: two-sided p of the paired randomisation test of the mean difference.
        randomisation_holm: likewise, after Holm's correction.
    """

    run: str
    measure: str
    mean: float
    baseline: float
    difference: float
    wins: int
    ties: int
    losses: int
    t_p: float
    t_holm: float
    randomisation_p: float
    randomisation_holm: float


def compare(
    qrels: Qrels,
    baseline: Run,
    others: Mapping[str, Run],
    measures: Sequence[str] = DEFAULT_MEASURES,
    *,
    seed: int = SEED,
) -> list[Comparison]:
    """Compare runs with a baseline, each by each measure.

    Args:
        qrels: judgements; all judged queries count, in every run.
        baseline: what the others are compared with.
        others: runs by name.
        measures: as :func:`splare_plugins.retrieval.evaluation.evaluate` takes them.
        seed: of the randomisation tests.

    Raises:
        InputError: for fewer than two judged queries, and as ``evaluate``.
    """
    values = {name: evaluate_per_query(qrels, run, measures) for name, run in others.items()}
    return corrected(paired(evaluate_per_query(qrels, baseline, measures), values, seed=seed))


def paired(baseline: Values, others: Mapping[str, Values], *, seed: int = SEED) -> list[Comparison]:
    """Likewise of measures by query, the same queries in all, without a correction yet."""
    if len(baseline) < _FEWEST:
        raise InputError("one judged query cannot show which run is better; judge two or more")
    names = list(next(iter(baseline.values())))
    return [
        _comparison(run, name, _column(values, baseline, name), _column(baseline, baseline, name), seed)
        for name in names
        for run, values in others.items()
    ]


def corrected(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The same with p values corrected by Holm's method, as one family for each of the two tests."""
    t, randomisation = (holm([getattr(each, name) for each in comparisons]) for name in ("t_p", "randomisation_p"))
    return [
        replace(each, t_holm=one, randomisation_holm=other)
        for each, one, other in zip(comparisons, t, randomisation, strict=True)
    ]


def holm(values: Sequence[float]) -> list[float]:
    """p values after Holm's correction: the i-th smallest of n times (n - i + 1), never falling, at most 1."""
    order = np.argsort(values, kind="stable")
    grown = np.array(values, dtype=np.float64)[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(np.maximum.accumulate(grown), 1.0)
    return [float(value) for value in adjusted]


def _column(values: Values, queries: Values, name: str) -> np.ndarray:
    return np.array([values[qid][name] for qid in queries], dtype=np.float64)


def _comparison(run: str, measure: str, ours: np.ndarray, theirs: np.ndarray, seed: int) -> Comparison:
    from scipy.stats import permutation_test, ttest_rel

    differences = ours - theirs
    t = randomisation = 1.0
    if differences.any():
        with warnings.catch_warnings():
            # The same difference at every query: the statistic is infinite and p is 0, as it should be.
            warnings.filterwarnings("ignore", message="Precision loss", category=RuntimeWarning)
            t = float(ttest_rel(ours, theirs).pvalue)
        # One sample: the signs of the differences are flipped; all ways of it where they are fewer than the resamples.
        randomisation = float(
            permutation_test(
                (differences,),
                np.mean,
                permutation_type="samples",
                vectorized=True,
                n_resamples=RESAMPLES,
                batch=_BATCH,
                rng=np.random.default_rng(seed),
            ).pvalue
        )
    return Comparison(
        run=run,
        measure=measure,
        mean=float(ours.mean()),
        baseline=float(theirs.mean()),
        difference=float(differences.mean()),
        wins=int((differences > 0).sum()),
        ties=int((differences == 0).sum()),
        losses=int((differences < 0).sum()),
        t_p=t,
        t_holm=t,
        randomisation_p=randomisation,
        randomisation_holm=randomisation,
    )
