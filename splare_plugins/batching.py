"""Batches of texts of similar length going in, sparse rows coming out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
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
        values = values.gather(1, order)
        positive = values > 0
        data, indices, counts = values[positive], columns[positive], positive.sum(1)
    else:
        positive = weights > 0
        data, indices, counts = weights[positive], positive.nonzero()[:, 1], positive.sum(1)
    indptr = np.concatenate([[0], np.cumsum(counts.cpu().numpy())])
    parts = (data.float().cpu().numpy(), indices.cpu().numpy().astype(np.int32), indptr)
    return csr_array(parts, shape=(texts, width))
