"""Norms: tokens whose state is too long stay out of the pool, and texts must not win by their length."""

from __future__ import annotations

import torch
from torch import Tensor


def drop_outliers(states: Tensor, offsets: Tensor, keep: Tensor, ratio: float | None) -> Tensor:
    """Keep tokens whose norm is at most ``ratio`` times the median of their text's kept tokens; ``None`` keeps all.

    A state that is not finite stays too, so that it is found in the weights instead of leaving them without a word.
    """
    if ratio is None:
        return keep
    norms = states.float().norm(dim=1)
    lengths = offsets.diff()
    texts = torch.arange(len(lengths), device=states.device).repeat_interleave(lengths, output_size=len(states))
    # One table for all texts, since a loop over them would make a GPU wait at each; NaN is what takes no part.
    longest = max([1, *lengths.tolist()])
    table = norms.new_full((len(lengths), longest), torch.nan)
    table[texts, torch.arange(len(states), device=states.device) - offsets[texts]] = norms.where(keep, torch.nan)
    usual = norms <= ratio * table.nanmedian(dim=1).values[texts]
    return keep & (usual | ~norms.isfinite())


def drop_padded_outliers(states: Tensor, keep: Tensor, ratio: float | None) -> Tensor:
    """:func:`drop_outliers` of padded texts, in operations that a graph can hold.

    Args:
        states: shape ``[texts, tokens, d]``.
        keep: shape ``[texts, tokens]``, boolean.
        ratio: as there.
    """
    if ratio is None:
        return keep
    norms = states.norm(dim=2)
    kept = torch.where(keep, norms, torch.inf).sort(dim=1).values
    middle = ((keep.sum(1, keepdim=True) - 1) // 2).clamp(min=0)
    return keep & ((norms <= ratio * kept.gather(1, middle)) | ~norms.isfinite())


def scale_by_norm(weights: Tensor, power: float) -> Tensor:
    """Divide each row by its Euclidean norm to ``power``; rows without a weight stay empty."""
    if not power:
        return weights
    norms = weights.norm(dim=1, keepdim=True)
    # 1 instead of 0, since the power of 0 has no gradient.
    return weights / norms.where(norms > 0, 1) ** power
