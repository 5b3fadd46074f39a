"""Batches of texts of similar length going in, the largest weights of each coming out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_array

from splare_plugins.impacts import keep_largest

if TYPE_CHECKING:
    from torch import Tensor


def length_batches(lengths: Sequence[int], budget: int, *, packed: bool = False) -> Iterator[list[int]]:
    """Numbers of texts that are encoded together, longest first, so that hardly anything is padding.

    Args:
        lengths: tokens of each text.
        budget: most tokens of a batch; a longer text makes a batch of its own.
        packed: count the texts' own tokens, and not what they are padded to.
    """
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
    sizes, start = np.asarray(lengths, dtype=np.int64)[order], 0
    ends = np.concatenate([[0], np.cumsum(sizes)])
    while start < len(order):
        size = int(np.searchsorted(ends, budget + ends[start], side="right")) - 1 - start
        if not packed:
            size = budget // max(1, int(sizes[start]))
        size = max(1, size)
        yield order[start : start + size].tolist()
        start += size


def keep_top_k(weights: Tensor, top_k: int) -> Tensor:
    """All but the ``top_k`` largest weights of each row set to 0, so that gradients pass; shape ``[texts, width]``."""
    if top_k >= weights.shape[1]:
        return weights
    values, columns = weights.topk(top_k, dim=1, sorted=False)
    return weights.new_zeros(weights.shape).scatter(1, columns, values)


def top_k_rows(weights: Tensor | np.ndarray, top_k: int | None) -> csr_array:
    """The largest positive weights of each row, with sorted columns.

    Args:
        weights: shape ``[texts, width]``.
        top_k: most weights kept of a row; ``None`` keeps all.

    Returns:
        float32, shape ``(texts, width)``.
    """
    return start_top_k_rows(weights, top_k)()


def start_top_k_rows(weights: Tensor | np.ndarray, top_k: int | None) -> Callable[[], csr_array]:
    """Likewise; a GPU is waited for when the rows are asked for, so that it may have more to do meanwhile."""
    if isinstance(weights, np.ndarray) or weights.device.type == "cpu":
        rows = _largest(weights if isinstance(weights, np.ndarray) else weights.float().numpy(), top_k)
        return lambda: rows
    return _start_on_device(weights, top_k)


def _start_on_device(weights: Tensor, top_k: int | None) -> Callable[[], csr_array]:
    width = weights.shape[1]
    if top_k is not None and top_k < width:
        values, columns = weights.topk(top_k, dim=1, sorted=False)
        columns, order = columns.sort(dim=1)
        # Brought to the host whole and sifted there: a GPU would be waited for at every boolean index.
        kept, ids = to_host(values.gather(1, order).float()), to_host(columns.int())

        def largest() -> csr_array:
            best, latents = kept(), ids()
            filled = best > 0
            return _rows(best[filled], latents[filled], filled.sum(1), width)

        return largest
    positive = weights > 0
    data, indices = to_host(weights[positive].float()), to_host(positive.nonzero()[:, 1].int())
    counts = to_host(positive.sum(1))
    return lambda: _rows(data(), indices(), counts(), width)


def to_host(tensor: Tensor | np.ndarray) -> Callable[[], np.ndarray]:
    """Begin to copy a tensor; what is returned waits for the copy and gives it."""
    if isinstance(tensor, np.ndarray):
        return lambda: tensor
    if tensor.device.type != "cuda":
        copied = tensor.cpu().numpy()
        return lambda: copied
    import torch

    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(tensor, non_blocking=True)
    done = torch.cuda.Event()
    done.record(torch.cuda.current_stream(tensor.device))

    def copy() -> np.ndarray:
        done.synchronize()
        return host.numpy().copy()  # memory that a device copies into is scarce

    return copy


def _largest(weights: np.ndarray, top_k: int | None) -> csr_array:
    """Faster than topk of torch on a processor, since few of a text's weights are positive."""
    latents = [np.flatnonzero(row > 0) for row in weights]
    data = np.concatenate([row[active] for row, active in zip(weights, latents, strict=True)])
    counts = np.array([len(active) for active in latents])
    return keep_largest(_rows(data, np.concatenate(latents), counts, weights.shape[1]), top_k)


def _rows(data: np.ndarray, indices: np.ndarray, counts: np.ndarray, width: int) -> csr_array:
    indptr = np.concatenate([[0], np.cumsum(counts)])
    return csr_array((data, indices, indptr), shape=(len(counts), width))
