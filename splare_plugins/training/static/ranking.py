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
        columns, pruned, parts = documents.T.tocsr(), keep_largest(targets, top_k), []
        for start in range(0, targets.shape[0], _AT_ONCE):
            scores = (pruned[start : start + _AT_ONCE] @ columns).toarray()
            parts.append(np.argpartition(-scores, mined - 1, axis=1)[:, :mined])
        scaled = documents.astype(np.float32)
        scaled.data /= np.float32(linalg.norm(documents, axis=1).mean())
        return cls(scaled, np.concatenate(parts), others)

    def draw(self, batch: np.ndarray, generator: np.random.Generator) -> Tensor:
        """The vectors for the texts of these numbers, shape ``[candidates, width]``."""
        drawn = generator.choice(self._vectors.shape[0], self._others)
        return torch.from_numpy(self._vectors[np.unique([*self._named[batch].ravel(), *drawn])].toarray())


def divergence(made: Tensor, wanted: Tensor, candidates: Tensor, *, scale: float, top_k: int | None) -> Tensor:
    """Between the distributions over candidates that two vectors of a text give, each with its ``top_k`` largest.

    Args:
        made: by the table, shape ``[texts, width]``.
        wanted: by the full encoder, likewise.
        candidates: shape ``[candidates, width]``.
        scale: of the scores.
        top_k: weights that count; ``None`` for all.
    """
    ours, theirs = (
        (scale * functional.normalize(largest(each, top_k), dim=1) @ candidates.T).log_softmax(1)
        for each in (made, wanted)
    )
    return functional.kl_div(ours, theirs, log_target=True, reduction="batchmean")


def largest(weights: Tensor, top_k: int | None) -> Tensor:
    """The ``top_k`` largest weights of each row; the others are 0 and get no gradient."""
    if top_k is None or top_k >= weights.shape[1]:
        return weights
    return weights.where(weights >= weights.topk(top_k, dim=1).values[:, -1:], 0)
