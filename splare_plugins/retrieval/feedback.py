"""Pseudo-relevance feedback over latents: how the best documents of a first search extend a query.

The formulas are those of Anserini's RM3 and Rocchio with its default settings; vectors are ``{"f12345": weight}``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

Weights = dict[str, float]


def rm3_query(
    query: Mapping[str, float],
    documents: Iterable[tuple[Mapping[str, float], float]],
    *,
    fb_terms: int = 10,
    original_query_weight: float = 0.5,
) -> Weights:
    """Mix a query with a relevance model of its best documents.

    Args:
        query: terms with weights > 0.
        documents: vectors of the best documents with their scores.
        fb_terms: latents kept of each document, and of the model.
        original_query_weight: share of the query in the mix, 0 to 1.

    Returns:
        Weights that add up to 1, if neither the query nor the model is empty.
    """
    model: Weights = {}
    for vector, score in documents:
        for term, weight in _scaled(_heaviest(vector, fb_terms), 1).items():
            model[term] = model.get(term, 0.0) + weight * score
    model = _scaled(_heaviest(model, fb_terms), 1)
    return _mixed(_scaled(query, 1), original_query_weight, model, 1 - original_query_weight)


def rocchio_query(
    query: Mapping[str, float],
    documents: Iterable[Mapping[str, float]],
    *,
    fb_terms: int = 10,
    alpha: float = 1.0,
    beta: float = 0.75,
) -> Weights:
    """Move a query towards the mean of its best documents.

    Args:
        query: terms with weights > 0.
        documents: vectors of the best documents.
        fb_terms: latents kept of the mean.
        alpha: weight of the query, scaled to length 1.
        beta: weight of the mean, scaled to length 1.
    """
    mean: Weights = {}
    for vector in documents:
        for term, weight in _scaled(vector, 2).items():
            mean[term] = mean.get(term, 0.0) + weight
    return _mixed(_scaled(query, 2), alpha, _scaled(_heaviest(mean, fb_terms), 2), beta)


def _heaviest(weights: Mapping[str, float], count: int) -> Weights:
    # Terms of equal weight in the order of their names, so that the same index always gives the same query.
    return dict(sorted(weights.items(), key=lambda item: (-item[1], item[0]))[:count])


def _scaled(weights: Mapping[str, float], norm: int) -> Weights:
    """``weights`` with their sum (``norm=1``) or length (``norm=2``) scaled to 1; none if there are only zeros."""
    size = sum(weights.values()) if norm == 1 else math.sqrt(sum(weight * weight for weight in weights.values()))
    return {term: weight / size for term, weight in weights.items()} if size else {}


def _mixed(first: Weights, share: float, second: Weights, other_share: float) -> Weights:
    terms = {*first, *second}
    mixed = {term: share * first.get(term, 0.0) + other_share * second.get(term, 0.0) for term in sorted(terms)}
    return {term: weight for term, weight in mixed.items() if weight > 0}
