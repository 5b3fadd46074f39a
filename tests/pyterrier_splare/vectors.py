"""Random vectors with the statistics of SPLARE's: documents of topics, frequent and rare latents, skewed impacts.

The numbers come from the built-in model on SciFact and XQuAD: the most frequent latents are in half of the documents,
impacts fall slowly with their rank, and a query shares less than half of its latents with what it looks for.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

WIDTH = 16_384
TOPICS = 400
TOPIC_LATENTS = 900


def topical_vectors(documents: int, queries: int, *, latents: int = 400, seed: int = 0) -> tuple[csr_array, csr_array]:
    """Impacts of ``documents`` documents, and of ``queries`` queries with 40 latents."""
    rng = np.random.default_rng(seed)
    of_topic = np.array([rng.permutation(WIDTH)[:TOPIC_LATENTS] for _ in range(TOPICS)])
    common = rng.permutation(WIDTH)
    topics = rng.integers(0, TOPICS, (documents, 2))
    found = np.concatenate(
        [_latents(rng, topics[start : start + 2000], of_topic, common, latents) for start in range(0, documents, 2000)]
    )
    # A query has strong latents of a document, more of its topic, and some that have nothing to do with it.
    target = rng.integers(0, documents, queries)
    strong = rng.permuted(np.tile(np.arange(latents // 3), (queries, 1)), axis=1)[:, :14]
    related = of_topic[topics[target, :1], _zipf(rng, (queries, 20), TOPIC_LATENTS)]
    asked = np.concatenate([found[target[:, None], strong], related, rng.integers(0, WIDTH, (queries, 6))], axis=1)
    return _matrix(found, _impacts(rng, found.shape, 240, 25, 0.42)), _matrix(
        rng.permuted(asked, axis=1), _impacts(rng, asked.shape, 215, 6, 0.37)
    )


def names(rows: int) -> list[str]:
    """Ids for ``rows`` documents."""
    return [f"d{row}" for row in range(rows)]


def _latents(
    rng: np.random.Generator, topics: np.ndarray, of_topic: np.ndarray, common: np.ndarray, latents: int
) -> np.ndarray:
    """Distinct latents of documents, the strongest first: more than half of their topics, the others of any text."""
    shape = (len(topics), int(2.5 * latents))
    own = of_topic[np.take_along_axis(topics, rng.integers(0, 2, shape), axis=1), _zipf(rng, shape, TOPIC_LATENTS)]
    drawn = np.where(rng.random(shape) < 0.6, own, common[_zipf(rng, shape, WIDTH)])
    order = np.argsort(drawn, axis=1, kind="stable")
    ranked = np.take_along_axis(drawn, order, axis=1)
    repeated = np.zeros(shape, dtype=bool)
    np.put_along_axis(repeated, order[:, 1:], ranked[:, 1:] == ranked[:, :-1], axis=1)
    first = np.argsort(repeated, axis=1, kind="stable")[:, :latents]
    return np.take_along_axis(drawn, first, axis=1)


def _zipf(rng: np.random.Generator, shape: tuple[int, int], size: int) -> np.ndarray:
    share = 1 / np.arange(12, size + 12) ** 0.9
    return np.searchsorted(np.cumsum(share / share.sum()), rng.random(shape)).clip(max=size - 1)


def _impacts(rng: np.random.Generator, shape: tuple[int, ...], top: float, bend: float, fall: float) -> np.ndarray:
    """Impacts that fall with a power of the rank."""
    values = top * (1 + np.arange(shape[1]) / bend) ** -fall * np.exp(rng.normal(0, 0.15, shape))
    return np.clip(np.rint(values), 1, 255)


def _matrix(latents: np.ndarray, impacts: np.ndarray) -> csr_array:
    rows = np.repeat(np.arange(len(latents)), latents.shape[1])
    matrix = csr_array((impacts.ravel(), (rows, latents.ravel())), shape=(len(latents), WIDTH))
    # A latent that was drawn twice for a query has both impacts.
    matrix.data = np.minimum(matrix.data, 255)
    matrix.sort_indices()
    return matrix.astype(np.int32)
