"""Several runs made one: reciprocal ranks, or scores brought to one scale, added with weights.

For each query, the hits of a run are ranked by falling score, equal ones by falling id as ``evaluate`` ranks them, and
cut to ``depth``. A document of the fused run has the sum over the runs of ``weight * part``, where the part is

- ``rrf``: ``1 / (60 + rank)``, ranks from 1; 0 in a run that lacks the document;
- ``minmax``: ``(score - min) / (max - min)`` over the query's hits of the run, 1 where all have one score; 0, the
  lowest, in a run that lacks the document;
- ``zscore``: ``(score - mean) / deviation`` over the same hits, with the deviation of all of them (not of a sample), 0
  where all have one score; the lowest of these in a run that lacks the document.

A run without a hit for a query adds 0 to all. What ranx does beyond these three, it does with numba, a compiler.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, get_args

import numpy as np

from splare_plugins.engines.base import Hits
from splare_plugins.errors import InputError

Method = Literal["rrf", "minmax", "zscore"]
RRF_K = 60
_FEWEST = 2

Parts = tuple[np.ndarray, float]
"""What each hit of a run adds, best first, and what a document adds that the run lacks."""


def fuse(
    runs: Sequence[Mapping[str, Hits]],
    method: Method = "rrf",
    *,
    weights: Sequence[float] | None = None,
    k: int | None = None,
    depth: int | None = None,
) -> dict[str, Hits]:
    """One run of several; a query that only some of them have is kept.

    The result does not depend on the order of the runs, nor on that of equal scores within one.

    Args:
        runs: two or more.
        method: how scores are brought to one scale, see the module.
        weights: one a run, at least 0 and not all 0; 1 each if left out.
        k: most documents of a query; all if left out.
        depth: hits of a query that are taken from each run; all if left out.

    Returns:
        Hits by query, in the order in which the runs have the queries; equal scores come by falling id.

    Raises:
        InputError: for an unknown method, fewer than two runs, or weights or numbers that cannot be used.
    """
    if method not in _PARTS:
        raise InputError(f"there is no method {method!r} of fusion; choose {', '.join(get_args(Method))}")
    if len(runs) < _FEWEST:
        raise InputError(f"fusion takes two runs or more, not {len(runs)}")
    factors = _weights(weights, len(runs))
    for name, value in (("k", k), ("depth", depth)):
        if value is not None and value < 1:
            raise InputError(f"{name} must be at least 1, not {value}")
    queries = dict.fromkeys(qid for run in runs for qid in run)
    return {qid: _fused([run.get(qid) for run in runs], method, factors, k, depth) for qid in queries}


def _weights(weights: Sequence[float] | None, runs: int) -> list[float]:
    factors = [1.0] * runs if weights is None else [float(weight) for weight in weights]
    if len(factors) != runs:
        raise InputError(f"there must be one weight a run, {runs} in all, not {len(factors)}")
    if not all(math.isfinite(factor) and factor >= 0 for factor in factors) or not any(factors):
        raise InputError(f"weights must be finite numbers of at least 0, and not all 0, not {factors}")
    return factors


def _fused(
    answers: Sequence[Hits | None], method: Method, factors: Sequence[float], k: int | None, depth: int | None
) -> Hits:
    found: list[tuple[dict[str, float], float, float]] = []
    for hits, factor in zip(answers, factors, strict=True):
        if hits is not None and hits.docids:
            pairs = sorted(zip(hits.scores.tolist(), hits.docids, strict=True), reverse=True)[:depth]
            parts, lacking = _PARTS[method](np.array([score for score, _ in pairs], dtype=np.float64))
            documents = [docid for _, docid in pairs]
            found.append((dict(zip(documents, parts.tolist(), strict=True)), lacking, factor))
    every = {docid for parts, _, _ in found for docid in parts}
    # fsum rounds once, so that no order of the runs gives another sum.
    totals = {
        docid: math.fsum(factor * parts.get(docid, lacking) for parts, lacking, factor in found) for docid in every
    }
    best = sorted(((score, docid) for docid, score in totals.items()), reverse=True)[:k]
    return Hits([docid for _, docid in best], np.array([score for score, _ in best], dtype=np.float64))


def _reciprocal_ranks(scores: np.ndarray) -> Parts:
    return 1 / (RRF_K + np.arange(1, len(scores) + 1)), 0.0


def _min_max(scores: np.ndarray) -> Parts:
    low, high = scores.min(), scores.max()
    return (scores - low) / (high - low) if high > low else np.ones(len(scores)), 0.0


def _standard_scores(scores: np.ndarray) -> Parts:
    deviation = scores.std() if scores.max() > scores.min() else 0.0
    parts = (scores - scores.mean()) / deviation if deviation else np.zeros(len(scores))
    return parts, float(parts.min())


_PARTS: dict[str, Callable[[np.ndarray], Parts]] = {
    "rrf": _reciprocal_ranks,
    "minmax": _min_max,
    "zscore": _standard_scores,
}
