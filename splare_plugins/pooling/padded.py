"""Max pooling for accelerators: few large kernels, no loop over texts, hardly a wait for the device.

Texts of similar length are padded to one block, so that the maxima of a slice of latents are one matrix product and
one reduction. The token that holds each maximum is remembered, so backward needs no product at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from splare_plugins.pooling.products import dot, kth_largest

BUDGET = 256 * 2**20
"""Bytes of one slice of values, or of gathered rows in backward."""
ALIGNED = 256
"""Slices of latents are a multiple of this: products with odd sizes are slow."""


def serves(states: Tensor) -> bool:
    """Whether this is the way to pool such states; a CPU is faster with slices that fit its cache."""
    return states.device.type != "cpu"


def padded_max_pool(
    states: Tensor, weight: Tensor, bias: Tensor | None, k: int | None, offsets: Tensor, chunk: int | None
) -> Tensor:
    """:func:`splare_plugins.pooling.chunked.max_pool` on any device; the default ``chunk`` fits the budget."""
    # The tokens are searched and kept only for a backward pass: encoding does without.
    if torch.is_grad_enabled() and any(part is not None and part.requires_grad for part in (states, weight, bias)):
        pooled: Tensor = _PaddedMaxPool.apply(states, weight, bias, k, offsets, chunk)
        return pooled
    return _pool(states, weight, bias, k, offsets, chunk, None)


class _PaddedMaxPool(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        k: int | None,
        offsets: Tensor,
        chunk: int | None,
    ) -> Tensor:
        held = states.new_full((len(offsets) - 1, len(weight)), -1, dtype=torch.int32)
        pooled = _pool(states, weight, bias, k, offsets, chunk, held)
        ctx.save_for_backward(states, weight, bias, held)
        return pooled

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        states, weight, bias, held = ctx.saved_tensors
        wants_states, wants_weight, wants_bias = ctx.needs_input_grad[:3]
        # Many small terms meet in one row: they are summed in full precision and rounded once.
        grad_states = torch.zeros_like(states, dtype=grad.dtype) if wants_states else None
        grad_weight = torch.zeros_like(weight, dtype=grad.dtype) if wants_weight else None
        pairs = BUDGET // (states.shape[1] * grad.element_size())
        for texts, latents in zip(*(ids.split(max(1, pairs)) for ids in grad.nonzero(as_tuple=True)), strict=True):
            tokens = held[texts, latents].long()
            # A text without tokens is -inf whatever the weights are; its terms vanish instead of being sorted out.
            slopes = torch.where(tokens < 0, 0, grad[texts, latents])[:, None]
            tokens = tokens.clamp(min=0)
            if grad_states is not None:
                grad_states.index_add_(0, tokens, slopes * weight[latents])
            if grad_weight is not None:
                grad_weight.index_add_(0, latents, slopes * states[tokens])
        return (
            None if grad_states is None else grad_states.to(states.dtype),
            None if grad_weight is None else grad_weight.to(weight.dtype),
            grad.sum(0).to(bias.dtype) if bias is not None and wants_bias else None,
            None,
            None,
            None,
        )


def _pool(
    states: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    k: int | None,
    offsets: Tensor,
    chunk: int | None,
    held: Tensor | None,
) -> Tensor:
    """The maxima; and into ``held``, shape ``[texts, width]``, the tokens that they come from, the first of a tie."""
    dtype = torch.promote_types(states.dtype, torch.float32)
    pooled = states.new_full((len(offsets) - 1, len(weight)), -torch.inf, dtype=dtype)
    for texts, tokens in _blocks(offsets):
        block = states[tokens.flatten()]
        size = chunk or max(ALIGNED, BUDGET // (len(block) * block.element_size()) // ALIGNED * ALIGNED)
        floor = None if k is None else kth_largest(block, weight, bias, k, size)[:, None]
        for start in range(0, len(weight), size):
            part = slice(start, start + size)
            values = dot(block, weight[part], None if bias is None else bias[part])
            if floor is not None:
                values.masked_fill_(values < floor, -torch.inf)
            values = values.view(*tokens.shape, -1)
            if held is None:
                pooled[:, part].index_copy_(0, texts, values.amax(1).to(dtype))
                continue
            maxima, positions = values.max(1)
            pooled[:, part].index_copy_(0, texts, maxima.to(dtype))
            held[:, part].index_copy_(0, texts, tokens.gather(1, positions).int())
    return pooled


def _blocks(offsets: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Texts of similar length, and their tokens.

    Shorter texts repeat their last token, which changes no maximum, so nothing needs a mask. No text is shorter than
    three quarters of the longest beside it, so ragged batches cost little more than others.

    Yields:
        numbers of the texts, shape ``[n]``; positions of their tokens, shape ``[n, longest]``.
    """
    lengths, order = offsets.diff().cpu().sort(descending=True)
    sizes = lengths.tolist()
    begin, full = 0, sum(size > 0 for size in sizes)
    while begin < full:
        end = begin
        while end < full and 4 * sizes[end] >= 3 * sizes[begin]:
            end += 1
        texts = order[begin:end].to(offsets.device)
        tokens = offsets[texts, None] + torch.arange(sizes[begin], device=offsets.device)
        yield texts, torch.minimum(tokens, offsets[texts + 1, None] - 1)
        begin = end
