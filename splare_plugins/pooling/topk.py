"""The exact pool of per-token TopK SAEs, in two passes and without tokens x width memory."""

from __future__ import annotations

import torch
from torch import Tensor

from splare_plugins.pooling.chunked import CHUNK, drop_tokens, max_pool


def topk_max_pool(
    states: Tensor,
    weight: Tensor,
    bias: Tensor,
    k: int,
    offsets: Tensor,
    keep: Tensor,
    *,
    chunk: int = CHUNK,
) -> Tensor:
    """Maximum over each text's kept tokens of the ``k`` largest ``states @ weight.T + bias`` of each token.

    The first pass finds every token's k-th largest value, the second pools what is not below it; latents
    that tie with the k-th all count. Arguments are those of
    :func:`splare_plugins.pooling.sae_max_pool`.

    Args:
        states: shape ``[tokens, d]``.
        weight: shape ``[width, d]``.
        bias: shape ``[width]``; part of the result here, since it decides which latents are largest.
        k: latents kept per token.
        offsets: shape ``[texts + 1]``.
        keep: shape ``[tokens]``, boolean.
        chunk: latents computed at a time.

    Returns:
        shape ``[texts, width]``; -inf where no token of the text kept the latent.
    """
    states, offsets = drop_tokens(states, offsets, keep)
    with torch.no_grad():
        floor = _kth_largest(states, weight, bias, min(k, len(weight)), chunk)
    return max_pool(states, weight, bias, floor, offsets, chunk)


def _kth_largest(states: Tensor, weight: Tensor, bias: Tensor, k: int, chunk: int) -> Tensor:
    best = states.new_empty((len(states), 0))
    for rows, biases in zip(weight.split(chunk), bias.split(chunk), strict=True):
        values = torch.addmm(biases.to(states.dtype), states, rows.T)
        candidates = torch.cat([best, values.topk(min(k, values.shape[1]), dim=1).values], dim=1)
        best = candidates.topk(min(k, candidates.shape[1]), dim=1).values
    return best[:, -1]
