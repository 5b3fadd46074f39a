"""Max pooling in slices of latents: extra memory is tokens x chunk, and backward touches active latents only."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor

from splare_plugins.pooling import padded
from splare_plugins.pooling.products import dot, kth_largest

CHUNK = 512


def sae_max_pool(states: Tensor, weight: Tensor, offsets: Tensor, keep: Tensor, *, chunk: int | None = None) -> Tensor:
    """Maximum over each text's kept tokens of ``states @ weight.T``.

    Args:
        states: token states of all texts, packed, shape ``[tokens, d]``.
        weight: encoder rows of the SAE, shape ``[width, d]``.
        offsets: first token of each text and the end of the last, shape ``[texts + 1]``.
        keep: tokens that take part, shape ``[tokens]``, boolean.
        chunk: latents computed at a time; ``None`` takes what suits the device.

    Returns:
        float32 (float64 for float64 states), shape ``[texts, width]``, -inf for a text without a kept
        token. Differentiable in ``states`` and ``weight``: the gradient of a maximum goes to the token
        that holds it, and costs only as much as the latents that have a gradient.
    """
    states, offsets = drop_tokens(states, offsets, keep)
    return max_pool(states, weight, None, None, offsets, chunk)


def topk_max_pool(
    states: Tensor,
    weight: Tensor,
    bias: Tensor,
    k: int,
    offsets: Tensor,
    keep: Tensor,
    *,
    chunk: int | None = None,
) -> Tensor:
    """Maximum over each text's kept tokens of the ``k`` largest ``states @ weight.T + bias`` of each token.

    The first pass finds every token's k-th largest value, the second pools what is not below it; latents
    that tie with the k-th all count. ``bias``, shape ``[width]``, is part of the result here, since it decides which
    latents are largest; the other arguments are those of :func:`splare_plugins.pooling.sae_max_pool`.

    Returns:
        shape ``[texts, width]``; -inf where no token of the text kept the latent.
    """
    states, offsets = drop_tokens(states, offsets, keep)
    return max_pool(states, weight, bias, k, offsets, chunk)


def argmax_tokens(states: Tensor, weight: Tensor, pooled: Tensor, bias: Tensor | None = None) -> Tensor:
    """The token of one text that holds each of some pooled values.

    Looking for the token whose value is nearest to the pooled one, not for the largest, serves plain and
    TopK pools alike, and is safe against the last bit of a matrix product of another shape.

    Args:
        states: the text's kept tokens, shape ``[tokens, d]``.
        weight: encoder rows of the latents asked for, shape ``[n, d]``.
        pooled: their pooled values, shape ``[n]``.
        bias: their biases where the pool includes them, shape ``[n]``.

    Returns:
        Token positions, shape ``[n]``; the first of a tie.
    """
    return (dot(states, weight, bias) - pooled).abs().argmin(0)


def drop_tokens(states: Tensor, offsets: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
    """Remove the tokens that are not kept, and move the offsets accordingly."""
    kept_before = torch.cat([keep.new_zeros(1, dtype=torch.int64), keep.cumsum(0)])
    # Unlike that of a boolean index, the gradient of this one needs no sorting on a GPU.
    return states.index_select(0, keep.nonzero().squeeze(1)), kept_before[offsets]


def max_pool(
    states: Tensor, weight: Tensor, bias: Tensor | None, k: int | None, offsets: Tensor, chunk: int | None
) -> Tensor:
    """The pool under both public ones, in the way that suits the device.

    Only the ``k`` largest values of each token count, or all; ``offsets`` has no dropped tokens.
    """
    if padded.serves(states):
        return padded.padded_max_pool(states, weight, bias, k, offsets, chunk)
    chunk = chunk or CHUNK
    floor = None if k is None else kth_largest(states, weight, bias, k, chunk)
    pooled: Tensor = _MaxPool.apply(states, weight, bias, floor, offsets, chunk)
    return pooled


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        floor: Tensor | None,
        offsets: Tensor,
        chunk: int,
    ) -> Tensor:
        bounds, width = list(itertools.pairwise(offsets.tolist())), len(weight)
        dtype = torch.promote_types(states.dtype, torch.float32)
        pooled = states.new_full((len(bounds), width), -torch.inf, dtype=dtype)
        # One buffer for all slices: fresh memory costs more than the maxima.
        buffer = states.new_empty(len(states) * min(chunk, width))
        for start in range(0, width, chunk):
            rows = weight[start : start + chunk]
            values = buffer[: len(states) * len(rows)].view(len(states), len(rows))
            if bias is None:
                torch.mm(states, rows.T, out=values)
            else:
                torch.addmm(bias[start : start + chunk].to(states.dtype), states, rows.T, out=values)
            if floor is not None:
                values.masked_fill_(values < floor[:, None], -torch.inf)
            for text, (first, end) in enumerate(bounds):
                if first < end:
                    pooled[text, start : start + chunk] = torch.amax(values[first:end], 0)
        ctx.save_for_backward(states, weight, bias, offsets, pooled)
        ctx.chunk = chunk
        return pooled

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        states, weight, bias, offsets, pooled = ctx.saved_tensors
        wants_states, wants_weight, wants_bias = ctx.needs_input_grad[:3]
        grad_states = torch.zeros_like(states) if wants_states else None
        grad_weight = torch.zeros_like(weight) if wants_weight else None
        for text, (start, end) in enumerate(itertools.pairwise(offsets.tolist())):
            if start == end:
                continue
            tokens = states[start:end]
            for latents in grad[text].nonzero().squeeze(1).split(ctx.chunk):
                rows = weight[latents]
                held = argmax_tokens(tokens, rows, pooled[text, latents], None if bias is None else bias[latents])
                slope = grad[text, latents, None].to(rows.dtype)
                if grad_states is not None:
                    grad_states[start:end].index_add_(0, held, slope * rows)
                if grad_weight is not None:
                    grad_weight.index_add_(0, latents, slope * tokens[held])
        grad_bias = grad.sum(0).to(bias.dtype) if bias is not None and wants_bias else None
        return grad_states, grad_weight, grad_bias, None, None, None
