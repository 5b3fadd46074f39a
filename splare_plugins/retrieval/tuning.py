"""Settings that make an index answer faster and still find nearly all of the best documents."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from splare_plugins.engines.base import Engine, Hits, Searcher, TunableEngine
from splare_plugins.errors import InputError
from splare_plugins.impacts import keep_largest
from splare_plugins.machine import Progress

CUTS = (30, 20, 15, 10)
"""Latents of a query that are tried by default where an engine has no settings of its own that miss documents."""
_WARM_UP = 5


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What one choice of settings finds, and how fast.

    Attributes:
        settings: of the engine's searcher.
        top_k: latents of a query that were searched for, the largest first; ``None`` for all.
        recall: share of the truly best documents that were found, the mean over queries.
        median_ms: of a query, one at a time, without encoding it.
        p99_ms: the 99th percentile of the same.
    """

    settings: Mapping[str, Any]
    top_k: int | None
    recall: float
    median_ms: float
    p99_ms: float


def tune(
    engine: Engine,
    location: str,
    impacts: csr_array,
    *,
    k: int = 10,
    cuts: Sequence[int] | None = None,
    on_progress: Progress | None = None,
) -> list[Trial]:
    """Try what an engine has to choose from, against its own exact search with whole queries.

    Args:
        engine: of the index.
        location: of the index.
        impacts: of queries, int32, as the model gives them.
        k: best documents of a query that count.
        cuts: numbers of latents that queries are cut to; by default :data:`CUTS`, and none for an engine whose own
            settings miss documents.
        on_progress: called with 1 after each trial.

    Returns:
        the trials, that of the exact search with whole queries first.

    Raises:
        InputError: if no query finds anything.
    """
    tunable = engine if isinstance(engine, TunableEngine) else None
    exact = dict(tunable.exact) if tunable else {}
    candidates = [dict(each) for each in tunable.candidates] if tunable else []
    if cuts is None:
        cuts = () if tunable and tunable.approximate else CUTS
    most = int(np.diff(impacts.indptr).max(initial=0))
    sizes: list[int | None] = [None, *sorted({cut for cut in cuts if cut < most}, reverse=True)]
    trials = []
    with engine.searcher(location, **exact) as searcher:
        truth = searcher.search(impacts, 2 * k + 100)
        if not any(hits.docids for hits in truth):
            raise InputError("none of these queries finds a document, so there is nothing to compare; try others")
        for top_k in sizes if exact in candidates or not candidates else [None]:
            trials.append(_try(searcher, exact, top_k, impacts, truth, k))
            if on_progress is not None:
                on_progress(1)
    for settings in candidates:
        if settings == exact:
            continue
        with engine.searcher(location, **settings) as searcher:
            for top_k in sizes:
                trials.append(_try(searcher, settings, top_k, impacts, truth, k))
                if on_progress is not None:
                    on_progress(1)
    return trials


def choose(trials: Sequence[Trial], recall: float) -> Trial:
    """The fastest of those that find enough; the exact search always does."""
    return min((trial for trial in trials if trial.recall >= recall), key=lambda trial: trial.median_ms)


def recall(found: Sequence[Hits], truth: Sequence[Hits], k: int) -> float:
    """Share of the ``k`` truly best documents that were found, the mean over queries that have any.

    Args:
        found: the answers to judge.
        truth: exact answers, deeper than ``k``: a document that ties with the k-th best is as good as that one.
        k: best documents that count.
    """
    shares = []
    for hits, exact in zip(found, truth, strict=True):
        if exact.docids:
            size = min(k, len(exact.docids))
            best = {docid for docid, score in zip(*exact, strict=True) if score >= exact.scores[size - 1]}
            shares.append(min(size, len(best.intersection(hits.docids[:k]))) / size)
    return float(np.mean(shares))


def _try(
    searcher: Searcher, settings: Mapping[str, Any], top_k: int | None, impacts: csr_array, truth: list[Hits], k: int
) -> Trial:
    asked = impacts if top_k is None else keep_largest(impacts, top_k)
    searcher.search(asked[:_WARM_UP], k)
    taken, found = [], []
    for row in range(asked.shape[0]):
        query = asked[row : row + 1]
        begin = time.perf_counter()
        found += searcher.search(query, k)
        taken.append(1000 * (time.perf_counter() - begin))
    return Trial(
        settings=settings,
        top_k=top_k,
        recall=recall(found, truth, k),
        median_ms=float(np.median(taken)),
        p99_ms=float(np.percentile(taken, 99)),
    )
