"""Measures of a run against judgements, through ir-measures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from numbers import Integral
from subprocess import SubprocessError
from typing import Any, NamedTuple

import numpy as np

from splare_plugins.engines.base import Hits
from splare_plugins.errors import InputError

DEFAULT_MEASURES = ("nDCG@10", "R@100")
# trec_eval keeps a counter for each grade up to the largest, in native code that does not look at the bounds.
_LARGEST_GRADE = 1_000_000
_NOT_POOLED = -1

Qrels = Mapping[str, Mapping[str, int]]
Run = Mapping[str, Hits]


class Coverage(NamedTuple):
    """How judgements and run cover each other."""

    judged: int
    """Queries with judgements: the ones that measures are averaged over."""
    answered: int
    """Judged queries with at least one hit."""
    unanswered: int
    """Judged queries without a hit; they count as 0."""
    unjudged: int
    """Queries of the run without judgements; they are left out."""


def evaluate(qrels: Qrels, run: Run, measures: Sequence[str] = DEFAULT_MEASURES) -> dict[str, float]:
    """Average measures over all judged queries.

    A judged query without an answer counts as 0, and so does one without a relevant document. Documents with equal
    scores are ranked as trec_eval does it, by falling id, whatever their order in the run: the figures depend neither
    on how an engine breaks ties nor on which library computes a measure, and no score is rounded to 32 bits.

    Args:
        qrels: relevance by query and document.
        run: hits by query.
        measures: names as ir-measures knows them, such as ``nDCG@10``, ``R@100``, ``RR@10``, ``AP(rel=2)@100``, or as
            trec_eval does, such as ``ndcg_cut_10``, ``recip_rank``; ``ndcg_cut`` stands for all its cut-offs.

    Returns:
        The figures by the names that were asked for.

    Raises:
        InputError: for a measure that ir-measures does not know or cannot compute here, or empty judgements.
    """
    import ir_measures

    parsed = _parse(measures, qrels)
    values = _calculated(ir_measures.calc_aggregate, parsed, qrels, run)
    return {name: float(values[measure]) for name, measure in parsed.items()}


def evaluate_per_query(
    qrels: Qrels, run: Run, measures: Sequence[str] = DEFAULT_MEASURES
) -> dict[str, dict[str, float]]:
    """Measures of every judged query, in the order of ``qrels``; see :func:`evaluate`."""
    import ir_measures

    parsed = _parse(measures, qrels)
    found = _calculated(lambda *asked: list(ir_measures.iter_calc(*asked)), parsed, qrels, run)
    values = {(metric.query_id, metric.measure): float(metric.value) for metric in found}
    return {qid: {name: values.get((qid, measure), 0.0) for name, measure in parsed.items()} for qid in qrels}


def check_measures(measures: Sequence[str]) -> None:
    """Raise an ``InputError`` for a measure that ir-measures does not know."""
    for name in measures:
        _measures(name)


def coverage(qrels: Qrels, run: Run) -> Coverage:
    """How many queries were judged, answered, unanswered, and answered without a judgement."""
    answered = {qid for qid, hits in run.items() if hits.docids}
    both = len(answered & qrels.keys())
    return Coverage(len(qrels), both, len(qrels) - both, len(answered - qrels.keys()))


def _parse(measures: Sequence[str], qrels: Qrels) -> dict[str, Any]:
    if not qrels:
        raise InputError("there are no judgements to evaluate against")
    if not measures:
        raise InputError("no measure was asked for; name one, such as nDCG@10")
    parsed: dict[str, Any] = {}
    for name in measures:
        found = _measures(name)
        parsed.update({name: found[0]} if len(found) == 1 else {str(each): each for each in found})
    return parsed


def _measures(name: str) -> list[Any]:
    """The one measure of a name of ir-measures, or what a name of trec_eval stands for."""
    import ir_measures

    found: list[Any] = []
    with suppress(NameError, ValueError, TypeError):
        found = [ir_measures.parse_measure(name)]
    with suppress(NameError, ValueError, TypeError):
        found = found or ir_measures.parse_trec_measure(name)
    if not found:
        raise InputError(f"there is no measure {name!r}; names look like nDCG@10, R@100, RR@10 or AP")
    for measure in found:
        for parameter in ("cutoff", "rel"):
            # A cut-off of 0 ends trec_eval's library, and this process with it.
            if not 1 <= measure.params.get(parameter, 1) <= np.iinfo(np.int32).max:
                raise InputError(f"{name}: {parameter} must be from 1 to 2^31 - 1; names look like nDCG@10, AP(rel=2)")
    return found


def _calculated(calculate: Callable[..., Any], parsed: dict[str, Any], qrels: Qrels, run: Run) -> Any:
    plain = {qid: _grades(qid, judged) for qid, judged in qrels.items()}
    try:
        return calculate(list(parsed.values()), plain, _strictly_ordered(qrels, run))
    except (ValueError, TypeError, AssertionError, SubprocessError) as error:
        detail = " ".join(str(error).split())
        raise InputError(
            f"ir-measures cannot compute {', '.join(parsed)}: {detail}; ask for other measures"
        ) from error


def _grades(qid: str, judged: Mapping[str, int]) -> dict[str, int]:
    """Grades as trec_eval's library takes them; its memory ends at -1, which counts as every other one below 0."""
    grades: dict[str, int] = {}
    for docid, grade in judged.items():
        if isinstance(grade, bool) or not isinstance(grade, Integral) or grade > _LARGEST_GRADE:
            raise InputError(
                f"the relevance of {docid!r} for the query {qid!r} must be a whole number up to {_LARGEST_GRADE:,}, "
                f"not {grade!r}"
            )
        grades[docid] = max(int(grade), _NOT_POOLED)
    return grades


def _strictly_ordered(qrels: Qrels, run: Run) -> dict[str, dict[str, float]]:
    """The run with scores n, n-1, ..., 1: sorted by score, then by id, both falling."""
    ordered: dict[str, dict[str, float]] = {}
    for qid in qrels:
        if qid in run and run[qid].docids:
            pairs = zip(run[qid].scores.tolist(), run[qid].docids, strict=True)
            docids = [docid for _, docid in sorted(pairs, reverse=True)]
            ordered[qid] = {docid: float(len(docids) - rank) for rank, docid in enumerate(docids)}
    return ordered
