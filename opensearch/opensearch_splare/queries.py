"""Query bodies as plain dictionaries; nothing here talks to a server.

Scores are dot products of the query's weights and the documents' impacts. ``neural_sparse`` takes weights in
(0, 64], so a query impact of 1..255 is sent as a quarter of itself, which float32 holds exactly; a score is then a
quarter of the integer dot product.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

from scipy.sparse import csr_array

from splare_plugins.config import check_count
from splare_plugins.errors import InputError
from splare_plugins.impacts import latent_terms

QueryForm = Literal["neural_sparse", "rank_feature"]
Body = dict[str, Any]

IMPACT_UNIT = 4
"""Query impacts are sent divided by this; scores are multiplied by it."""
MAX_QUERY_WEIGHT = 64.0
DEFAULT_MAX_CLAUSES = 1024
"""``indices.query.bool.max_clause_count`` of a cluster that was not told otherwise."""
_EXPANSION_RATE, _MAX_WINDOW = 5.0, 10_000


def query_tokens(impacts: csr_array) -> list[dict[str, float]]:
    """Each row as the tokens of a query: ``{"f12": 21.75}`` for an impact of 87.

    Args:
        impacts: int32, shape ``(n, width)``, values 1..256.
    """
    terms, weights = latent_terms(impacts.shape[1])[impacts.indices], (impacts.data / IMPACT_UNIT).tolist()
    return [
        dict(zip(terms[start:end].tolist(), weights[start:end], strict=True))
        for start, end in pairwise(impacts.indptr.tolist())
    ]


def neural_sparse(field: str, tokens: Mapping[str, float], *, max_clauses: int = DEFAULT_MAX_CLAUSES) -> Body:
    """The query of the neural-search plugin, from OpenSearch 2.14 on.

    Args:
        field: of type ``rank_features``.
        tokens: at least one, with weights in (0, 64].
        max_clauses: the cluster's ``indices.query.bool.max_clause_count``.

    Raises:
        InputError: for tokens that the server would refuse.
    """
    check_tokens(tokens, max_weight=MAX_QUERY_WEIGHT, max_clauses=max_clauses)
    return {"neural_sparse": {field: {"query_tokens": dict(tokens)}}}


def rank_feature(field: str, tokens: Mapping[str, float], *, max_clauses: int = DEFAULT_MAX_CLAUSES) -> Body:
    """Equal scores from OpenSearch's core alone, for clusters without neural-search.

    Arguments and errors are those of :func:`neural_sparse`, but a weight may be any number above 0. ``linear``
    matters: without it the server takes the saturation function, which is not a dot product.
    """
    check_tokens(tokens, max_weight=math.inf, max_clauses=max_clauses)
    features = ({"field": f"{field}.{token}", "linear": {}, "boost": weight} for token, weight in tokens.items())
    return {"bool": {"should": [{"rank_feature": feature} for feature in features]}}


def sparse_query(form: QueryForm, field: str, tokens: Mapping[str, float], *, max_clauses: int) -> Body:
    """The query in one of the two forms."""
    if form not in _FORMS:
        raise InputError(f"there is no query form {form!r}; there are neural_sparse and rank_feature")
    return _FORMS[form](field, tokens, max_clauses=max_clauses)


_FORMS = {"neural_sparse": neural_sparse, "rank_feature": rank_feature}


def sparse_vector(
    field: str,
    tokens: Mapping[str, float],
    *,
    k: int = 10,
    top_n: int | None = None,
    heap_factor: float = 1.0,
    filter: Body | None = None,
    max_clauses: int = DEFAULT_MAX_CLAUSES,
) -> Body:
    """The query of an approximate ``sparse_vector`` field, from OpenSearch 3.3 on.

    Args:
        field: of type ``sparse_vector``.
        tokens: keys are numbers in a string, as a :class:`FeatureMap` gives them; weights in (0, 64].
        k: candidates of each segment; at least the ``size`` of the search.
        top_n: strongest tokens that choose which lists are read. The server's own default of 10 suits queries of a
            few words; here it is all tokens.
        heap_factor: above 1 reads more clusters and finds more, below 1 fewer.
        filter: a query that hits must match.
        max_clauses: the cluster's ``indices.query.bool.max_clause_count``.

    Raises:
        InputError: for tokens or options that the server would refuse.
    """
    check_tokens(tokens, max_weight=MAX_QUERY_WEIGHT, max_clauses=max_clauses)
    if wrong := next((token for token in tokens if not (token.isascii() and token.isdigit())), None):
        raise InputError(f"the token {wrong!r} of a sparse_vector field must be a whole number; use the index's map")
    top_n = len(tokens) if top_n is None else top_n
    check_count(k, "k of a sparse_vector query")
    check_count(top_n, "top_n of a sparse_vector query")
    check_values(("heap_factor of a sparse_vector query must be above 0", heap_factor, heap_factor > 0))
    parameters: Body = {"k": k, "top_n": top_n, "heap_factor": heap_factor}
    if filter is not None:
        parameters["filter"] = filter
    return {"neural_sparse": {field: {"query_tokens": dict(tokens), "method_parameters": parameters}}}


def two_phase_pipeline(
    *, prune_ratio: float = 0.4, expansion_rate: float = _EXPANSION_RATE, max_window_size: int = _MAX_WINDOW
) -> Body:
    """A search pipeline that finds with a query's strong tokens and rescores with all; from OpenSearch 2.15 on.

    It is made for few hits: documents that hold only weak tokens never enter.

    Args:
        prune_ratio: tokens of at least this fraction of the strongest are strong.
        expansion_rate: how many times ``size`` documents are rescored; at least 1.
        max_window_size: most documents rescored; at least 50.

    Raises:
        InputError: for values that the server would refuse.
    """
    check_values(
        ("prune_ratio must be at least 0 and below 1", prune_ratio, 0 <= prune_ratio < 1),
        ("expansion_rate must be at least 1", expansion_rate, expansion_rate >= 1),
        ("max_window_size must be at least 50", max_window_size, max_window_size >= 50),
    )
    parameters = {
        "prune_type": "max_ratio",
        "prune_ratio": prune_ratio,
        "expansion_rate": expansion_rate,
        "max_window_size": max_window_size,
    }
    processor = {"enabled": True, "two_phase_parameter": parameters}
    return {"request_processors": [{"neural_sparse_two_phase_processor": processor}]}


def check_two_phase_window(size: int) -> None:
    """Raise an ``InputError`` for more hits than the window of the default :func:`two_phase_pipeline` has room for."""
    if size * _EXPANSION_RATE > _MAX_WINDOW:
        raise InputError(
            f"a two-phase search of {size} hits would rescore more than max_window_size={_MAX_WINDOW} documents; "
            f"ask for at most {int(_MAX_WINDOW / _EXPANSION_RATE)} hits, or search in one phase"
        )


def hybrid(queries: Sequence[Body]) -> Body:
    """Several queries whose scores :func:`hybrid_pipeline` makes one; from OpenSearch 2.10 on."""
    return {"hybrid": {"queries": list(queries)}}


def hybrid_pipeline(weights: Sequence[float]) -> Body:
    """A search pipeline that scales the scores of each query to 0..1 and adds them with ``weights``.

    Raises:
        InputError: unless the weights are positive and add up to 1.
    """
    if any(not weight >= 0 for weight in weights) or not math.isclose(sum(weights), 1.0, abs_tol=1e-3):
        raise InputError(f"the weights of a hybrid search must be at least 0 and add up to 1, not {list(weights)}")
    # Whole numbers among them would end in a ClassCastException of the server.
    combination = {"technique": "arithmetic_mean", "parameters": {"weights": [float(each) for each in weights]}}
    processor = {"normalization": {"technique": "min_max"}, "combination": combination}
    return {"phase_results_processors": [{"normalization-processor": processor}]}


def search_body(
    query: Body, size: int, *, filter: Body | None = None, pipeline: Body | None = None, pipelines_known: bool = True
) -> Body:
    """A search that returns ids and scores only, in one phase unless ``pipeline`` says otherwise.

    Args:
        query: what to score.
        size: most hits.
        filter: a query that hits must match.
        pipeline: a search pipeline for this search; without one, the index's default pipeline is switched off, since
            it may change scores.
        pipelines_known: whether the server knows search pipelines in a body (from 2.14 on).
    """
    if filter is not None:
        query = {"bool": {"must": [query], "filter": [filter]}}
    body: Body = {"size": size, "query": query, "_source": False, "track_total_hits": False}
    if pipeline is not None or pipelines_known:
        body["search_pipeline"] = "_none" if pipeline is None else pipeline
    return body


def hit_options(
    text: str, *, source: bool | Sequence[str], highlight: Sequence[str], after: Sequence[Any] | None
) -> Body:
    """What a search says of the hits that it wants, as ``SplareIndex.search_hits`` explains."""
    body: Body = {"_source": source if isinstance(source, bool) else list(source)}
    if highlight:
        words = {"multi_match": {"query": text, "fields": list(highlight)}}
        body["highlight"] = {"fields": {field: {} for field in highlight}, "highlight_query": words}
    if after is not None:
        # Ids part documents of the same score, so that none comes twice or never.
        body["sort"] = [{"_score": "desc"}, {"_id": "asc"}]
        if after:
            body["search_after"] = list(after)
    return body


def check_values(*rules: tuple[str, float | None, bool]) -> None:
    """Raise an ``InputError`` for the first value that breaks its rule: its words, the value, whether it is kept."""
    for rule, value, kept in rules:
        if not kept:
            raise InputError(f"{rule}, not {value}")


def check_tokens(tokens: Mapping[str, float], *, max_weight: float, max_clauses: int) -> None:
    """Raise an ``InputError`` for no tokens, too many, or a weight that is not in (0, ``max_weight``]."""
    if not tokens:
        raise InputError("a query without tokens finds nothing; omit it")
    for token, weight in tokens.items():
        if not (isinstance(weight, int | float) and 0 < weight < math.inf):
            raise InputError(f"the weight of the query token {token!r} must be a number above 0, not {weight!r}")
        if weight > max_weight:
            raise InputError(
                f"the weight of the query token {token!r} is {weight}, and neural_sparse takes at most "
                f"{max_weight:g}; scale the query down, which changes no ranking"
            )
    if len(tokens) > max_clauses:
        raise InputError(
            f"a query has {len(tokens)} tokens and the cluster takes {max_clauses}; prune it (--top-k), or raise the "
            "cluster setting indices.query.bool.max_clause_count"
        )
