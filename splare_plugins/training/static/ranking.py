"""What both encoders rank while a table is trained: other texts, or documents as they are indexed."""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import csr_array, linalg
from torch import Tensor
from torch.nn import functional

from splare_plugins.impacts import keep_largest

_AT_ONCE = 1024


class Candidates:
    """Vectors that the texts of a batch are compared with.

    Args:
        vectors: of texts or of documents, shape ``(n, width)``.
        named: of each text those that always take part, numbers of rows of ``vectors``, shape ``[texts, named]``.
        others: how many are drawn beside them for each batch.
    """

    def __init__(self, vectors: csr_array, named: np.ndarray, others: int) -> None:
        self._vectors, self._named, self._others = vectors, named, others

    @classmethod
    def texts(cls, targets: csr_array, others: int) -> Candidates:
        """The texts themselves, each of length 1."""
        lengths = np.maximum(linalg.norm(targets, axis=1), 1e-9)
        vectors = csr_array(targets.multiply(1 / lengths[:, None])).astype(np.float32)
        return cls(vectors, np.arange(targets.shape[0])[:, None], others)

    @classmethod
    def documents(
        cls, targets: csr_array, documents: csr_array, *, mined: int, others: int, top_k: int | None
    ) -> Candidates:
        """The best documents of each text by the ``top_k`` largest weights of its vector.

        All are divided by one length, their mean, so that those that score higher for theirs still do.
        """
        columns, parts = documents.T.tocsr(), []
        for start in range(0, targets.shape[0], _AT_ONCE):
            scores = (keep_largest(targets[start : start + _AT_ONCE], top_k) @ columns).toarray()
            # A copy, since a view would keep the numbers of all documents.
            parts.append(np.argpartition(-scores, mined - 1, axis=1)[:, :mined].copy())
        scaled = documents.astype(np.float32)
        scaled.data /= np.float32(linalg.norm(documents, axis=1).mean())
        return cls(scaled, np.concatenate(parts), others)

    def draw(self, batch: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, Tensor]:
        """Those for the texts of these numbers: their own numbers, and vectors of shape ``[candidates, width]``."""
        drawn = generator.choice(self._vectors.shape[0], self._others)
        numbers = np.unique([*self._named[batch].ravel(), *drawn])
        return numbers, torch.from_numpy(self._vectors[numbers].toarray())


def ranking_scores(weights: Tensor, candidates: Tensor, *, scale: float, top_k: int | None) -> Tensor:
    """What the vectors of texts give candidates, shape ``[texts, candidates]``.

    Args:
        weights: of texts, by the table or the full encoder, shape ``[texts, width]``; the ``top_k`` largest of each
            count, divided by their length.
        candidates: shape ``[candidates, width]``.
        scale: of the scores.
        top_k: ``None`` for all.
    """
    return scale * functional.normalize(largest(weights, top_k), dim=1) @ candidates.T


def divergence(made: Tensor, wanted: Tensor) -> Tensor:
    """Kullback-Leibler divergence between the rankings that scores stand for, mean over the texts.

    Args:
        made: by the table, shape ``[texts, candidates]``.
        wanted: by the full encoder or by teachers, likewise.
    """
    return functional.kl_div(made.log_softmax(1), wanted.log_softmax(1), log_target=True, reduction="batchmean")


def largest(weights: Tensor, top_k: int | None) -> Tensor:
    """The ``top_k`` largest weights of each row; the others are 0 and get no gradient."""
    if top_k is None or top_k >= weights.shape[1]:
        return weights
    return weights.where(weights >= weights.topk(top_k, dim=1).values[:, -1:], 0)
