"""What both ways of pooling are made of."""

from __future__ import annotations

import torch
from torch import Tensor


def dot(states: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``states @ weight.T + bias`` in the dtype of the states, shape ``[tokens, width]``."""
    return states @ weight.T if bias is None else torch.addmm(bias.to(states.dtype), states, weight.T)


@torch.no_grad()
def kth_largest(states: Tensor, weight: Tensor, bias: Tensor | None, k: int, chunk: int) -> Tensor:
    """The ``k``-th largest value of each token, or its smallest if there are fewer; shape ``[tokens]``.

    Values that are compared with it must be computed in the same slices of ``chunk`` latents: products of other shapes
    may differ in the last bit.
    """
    best = states.new_empty((len(states), 0))
    for start in range(0, len(weight), chunk):
        part = slice(start, start + chunk)
        values = dot(states, weight[part], None if bias is None else bias[part])
        candidates = torch.cat([best, values.topk(min(k, values.shape[1]), dim=1).values], dim=1)
        best = candidates.topk(min(k, candidates.shape[1]), dim=1).values
    return best[:, -1]
