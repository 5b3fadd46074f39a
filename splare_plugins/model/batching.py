"""Batches of texts of similar length going in, the largest weights of each coming out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor


def length_batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Numbers of texts that are encoded together, longest first, so that hardly anything is padding.

    Args:
        lengths: tokens of each text.
        budget: most padded tokens of a batch; a longer text makes a batch of its own.
    """
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
    start = 0
    while start < len(order):
        size = max(1, budget // max(1, lengths[order[start]]))
        yield order[start : start + size].tolist()
        start += size


def keep_top_k(weights: Tensor, top_k: int) -> Tensor:
    """All but the ``top_k`` largest weights of each row set to 0, so that gradients pass; shape ``[texts, width]``."""
    if top_k >= weights.shape[1]:
        return weights
    values, columns = weights.topk(top_k, dim=1, sorted=False)
    return torch.zeros_like(weights).scatter(1, columns, values)


def top_k_rows(weights: Tensor, top_k: int | None) -> csr_array:
    """The largest positive weights of each row, with sorted columns.

    Args:
        weights: shape ``[texts, width]``.
        top_k: most weights kept of a row; ``None`` keeps all.

    Returns:
        float32, shape ``(texts, width)``.
    """
    texts, width = weights.shape
    if top_k is not None and top_k < width:
        values, columns = weights.topk(top_k, dim=1, sorted=False)
        columns, order = columns.sort(dim=1)
        # Brought to the host whole and sifted there: a GPU would be waited for at every boolean index.
        kept, ids = values.gather(1, order).float().cpu().numpy(), columns.int().cpu().numpy()
        filled = kept > 0
        data, indices, counts = kept[filled], ids[filled], filled.sum(1)
    else:
        positive = weights > 0
        data = weights[positive].float().cpu().numpy()
        indices = positive.nonzero()[:, 1].int().cpu().numpy()
        counts = positive.sum(1).cpu().numpy()
    indptr = np.concatenate([[0], np.cumsum(counts)])
    return csr_array((data, indices, indptr), shape=(texts, width))
