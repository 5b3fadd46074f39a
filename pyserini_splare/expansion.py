"""Pseudo-relevance feedback over latents: the best documents of a first search extend the query.

The formulas are those of Anserini's RM3 and Rocchio with its default settings, so that results agree with the
stock searcher's ``set_rm3`` and ``set_rocchio``. The index has to keep vectors: ``store_vectors=True``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pyserini_splare.searcher import LuceneSearcher
from splare_plugins.engines.base import Hits
from splare_plugins.errors import InputError
from splare_plugins.retrieval.feedback import Weights, rm3_query, rocchio_query

# A latent that fires in more documents than this share tells little about relevance; Anserini's threshold.
MAX_SHARE = 0.1


def rm3(
    searcher: LuceneSearcher,
    queries: Sequence[Mapping[str, float]],
    k: int,
    *,
    fb_terms: int = 10,
    fb_docs: int = 10,
    original_query_weight: float = 0.5,
    max_share: float = MAX_SHARE,
) -> list[Hits]:
    """Search, mix the query with a relevance model of the best documents, and search again.

    Args:
        searcher: of an index with vectors.
        queries: terms with weights.
        k: most documents per query.
        fb_terms: latents kept of each document, and of the model.
        fb_docs: documents taken for relevant.
        original_query_weight: share of the query in the mix, 0 to 1.
        max_share: latents in more documents than this share are left out of the model.

    Returns:
        Hits with scores of the mixed query, in which all weights add up to 1.

    Raises:
        InputError: if the index keeps no vectors.
    """
    expanded = [
        rm3_query(query, best, fb_terms=fb_terms, original_query_weight=original_query_weight)
        for query, best in _relevant(searcher, queries, fb_docs, max_share)
    ]
    return searcher.search_dicts(expanded, k)


def rocchio(
    searcher: LuceneSearcher,
    queries: Sequence[Mapping[str, float]],
    k: int,
    *,
    fb_terms: int = 10,
    fb_docs: int = 10,
    alpha: float = 1.0,
    beta: float = 0.75,
    max_share: float = MAX_SHARE,
) -> list[Hits]:
    """Search, move the query towards the mean of the best documents, and search again.

    Args:
        searcher: of an index with vectors; other arguments that are not listed are those of :func:`rm3`.
        fb_terms: latents kept of the mean.
        alpha: weight of the query, scaled to length 1.
        beta: weight of the mean, scaled to length 1.

    Returns:
        Hits with scores of the moved query.

    Raises:
        InputError: if the index keeps no vectors.
    """
    expanded = [
        rocchio_query(query, [vector for vector, _ in best], fb_terms=fb_terms, alpha=alpha, beta=beta)
        for query, best in _relevant(searcher, queries, fb_docs, max_share)
    ]
    return searcher.search_dicts(expanded, k)


def _relevant(
    searcher: LuceneSearcher, queries: Sequence[Mapping[str, float]], fb_docs: int, max_share: float
) -> Iterator[tuple[Mapping[str, float], list[tuple[Weights, float]]]]:
    """Each query with the vectors and scores of its best documents."""
    for query, hits in zip(queries, searcher.search_dicts(queries, max(1, fb_docs)), strict=True):
        vectors = [_vector(searcher, docid, max_share) for docid in hits.docids[:fb_docs]]
        yield query, list(zip(vectors, hits.scores.tolist(), strict=False))


def _vector(searcher: LuceneSearcher, docid: str, max_share: float) -> Weights:
    vector = searcher.vector(docid)
    if vector is None:
        raise InputError(
            f"the index {searcher.location} keeps no vectors, which feedback needs; make it again with "
            "store_vectors=True, or with --storeDocvectors"
        )
    most = max_share * searcher.num_docs
    return {term: float(weight) for term, weight in vector.items() if searcher.document_frequency(term) <= most}
