"""Whether a backbone may be given packed texts: tried at load, since families differ in how they take positions."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from splare_plugins.backbone.backbone import Backbone
from splare_plugins.backbone.packed import HALVES, HAS_KERNEL, PACKED
from splare_plugins.backbone.tokens import Tokens

# Relative difference of a token's state that nine in ten must stay below; or three times what padding alone changes,
# which in half precision is the larger one.
_SAME = {torch.float32: 1e-4, torch.float64: 1e-4}
_SAME_IN_HALVES = 0.005
_AT_MOST = 0.1
_QUANTILE = 0.9
_LENGTHS = (5, 40, 1, 17)


def pack_where_it_fits(backbone: Backbone, *, longest: int, anywhere: bool = False) -> str | None:
    """Have a backbone encode texts packed instead of padded, if it gives the same states then.

    Args:
        backbone: on its device, ready to run.
        longest: tokens of the longest text that it will get.
        anywhere: where there is no fast kernel too.

    Returns:
        Why it stays with padded texts; ``None`` where they are packed now.
    """
    model = backbone.model
    usual = model.config._attn_implementation
    if usual == PACKED:
        return None
    if usual != "sdpa":
        return f"its attention is {usual!r}, which packed texts do without"
    if not model._can_set_attn_implementation():
        return "it has an attention of its own"
    if not anywhere and not (HAS_KERNEL and backbone.device.type == "cuda" and model.dtype in HALVES):
        return "the kernel for them is that of newer versions of torch, on cuda, in bfloat16 and float16"
    batch = _probe(backbone, longest)
    padded, _ = backbone(batch)
    noise = _apart(torch.cat([backbone([text])[0] for text in batch]), padded)
    try:
        model.set_attn_implementation(PACKED)
        backbone.packed = model.config._attn_implementation == PACKED
        apart = _apart(backbone(batch)[0], padded) if backbone.packed else float("inf")
    # Whatever a family does not take, and whatever the kernel does not.
    except Exception as error:
        reason = " ".join(str(error).split())
    else:
        if apart <= min(max(_SAME.get(model.dtype, _SAME_IN_HALVES), 3 * noise), _AT_MOST):
            return None
        reason = f"its states would be others, by {apart:.2g} of their size"
    backbone.packed = False
    model.set_attn_implementation(usual)
    return reason


def _probe(backbone: Backbone, longest: int) -> list[Tokens]:
    """Texts of mixed lengths: one that reaches beyond a local window, and more tokens than positions together."""
    config, positions = backbone.model.config, backbone.positions
    most = min(longest, positions or longest)
    lengths = [min(most, length) for length in (*_LENGTHS, max(64, 2 * (_window(config) or 0) + 8))]
    while sum(lengths) <= (positions or 0):
        lengths.append(min(most, 64))
    size = backbone.model.get_input_embeddings().num_embeddings
    generator = np.random.default_rng(0)
    texts = []
    for length in lengths:
        ids = generator.integers(0, size, length)
        ids[ids == backbone.pad_id] = (backbone.pad_id + 1) % size  # some families give padding no position
        texts.append(Tokens(ids, np.ones(length, dtype=bool), np.zeros((length, 2), dtype=np.int64), False))
    return texts


def _window(config: object) -> int | None:
    window = getattr(config, "sliding_window", None)
    return window if isinstance(window, int) else None


def _apart(states: Tensor, usual: Tensor) -> float:
    """A quantile of tokens' relative differences: a few states are so large that they would hide all others."""
    states, usual = states.float(), usual.float()
    apart = (states - usual).norm(dim=1) / usual.norm(dim=1).clamp(min=1e-12)
    return float(apart.nan_to_num(nan=torch.inf).quantile(_QUANTILE))
