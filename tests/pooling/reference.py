"""The definition of the two pools, written plainly and stored densely: what every fast version is tested against."""

from __future__ import annotations

import torch
from torch import Tensor


def dense_max_pool(states: Tensor, weight: Tensor, offsets: Tensor, keep: Tensor) -> Tensor:
    """Maximum over each text's kept tokens of ``states @ weight.T``; -inf where there is none.

    Shapes are those of :func:`splare_plugins.pooling.sae_max_pool`. Memory is tokens x width.
    """
    return _segment_max(states @ weight.T, offsets, keep)


def dense_topk_max_pool(states: Tensor, weight: Tensor, bias: Tensor, k: int, offsets: Tensor, keep: Tensor) -> Tensor:
    """The same over ``TopK(relu(states @ weight.T + bias))``, TopK taken within each token."""
    codes = torch.relu(states @ weight.T + bias)
    kth = codes.topk(min(k, codes.shape[1]), dim=1).values[:, -1:]
    return _segment_max(torch.where(codes >= kth, codes, 0), offsets, keep)


def _segment_max(values: Tensor, offsets: Tensor, keep: Tensor) -> Tensor:
    rows = [
        values[start:end][keep[start:end]].amax(0)
        if bool(keep[start:end].any())
        else values.new_full((values.shape[1],), -torch.inf)
        for start, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
    ]
    return torch.stack(rows) if rows else values.new_empty((0, values.shape[1]))
