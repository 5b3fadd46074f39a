"""Texts one after the other in a single row, without padding: the attention that keeps them apart.

transformers calls :func:`attend` by name. A call that brings the bounds of texts is a packed one; every other call is
sdpa's, so that a model that encodes packed texts is trained on padded ones.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from splare_plugins.backbone.placement import to_device

_kernel: Any = None
with suppress(ImportError):  # older versions of torch lack it
    from torch.nn.attention import varlen

    _kernel = varlen.varlen_attn

PACKED = "splare_packed"
"""Name of :func:`attend` among transformers' attentions."""
HALVES = (torch.float16, torch.bfloat16)
# What other families hand down and these kernels leave out.
_UNKNOWN = ("softcap", "position_bias", "s_aux", "sinks", "cache")


_WANTED = {"scale", "window_size", "enable_gqa"}
HAS_KERNEL = _kernel is not None and set(inspect.signature(_kernel).parameters) >= _WANTED
"""Whether this torch has a kernel for packed texts, with all that is asked of it; on cuda, in half precision."""


def attending(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[None]:
    """Around a call with packed texts: cuDNN, which torch prefers, would plan anew for each batch's longest text."""
    if HAS_KERNEL and device.type == "cuda" and dtype in HALVES:
        return sdpa_kernel(SDPBackend.FLASH_ATTENTION)
    return nullcontext()


def packed_inputs(lengths: Sequence[int], ids: np.ndarray, first: int, device: torch.device) -> dict[str, Any]:
    """What a model is called with.

    Args:
        lengths: tokens of each text.
        ids: token ids of all texts, int64.
        first: the position of a text's first token; the families that pad the table of positions count from behind it.
        device: where the model takes them.
    """
    ends = np.cumsum([0, *lengths])
    positions = np.arange(first, first + len(ids)) - np.repeat(ends[:-1], lengths)
    # Texts without a token, which some tokenizers make of an empty one, have no bounds.
    bounds = to_device(torch.from_numpy(np.unique(ends).astype(np.int32)), device)
    return {
        "input_ids": to_device(torch.from_numpy(ids), device)[None],
        "position_ids": to_device(torch.from_numpy(positions), device)[None],
        # transformers hands a mask of four dimensions on as it is, and would else make one of tokens x tokens.
        "attention_mask": torch.ones(1, 1, 1, 1, dtype=torch.bool, device=device),
        "cu_seq_lens_q": bounds,
        "cu_seq_lens_k": bounds,
        "max_length_q": max(lengths),
        "max_length_k": max(lengths),
    }


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    is_causal: bool | None = None,
    sliding_window: int | None = None,
    cu_seq_lens_q: Tensor | None = None,
    max_length_q: int | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """An attention of transformers; shapes ``[1, heads, tokens, d]`` to ``[1, tokens, heads, d]``.

    Raises:
        NotImplementedError: for a family with something that is left out here.
    """
    if cu_seq_lens_q is None or max_length_q is None:
        padded: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, is_causal=is_causal, **options
        )
        return padded
    if unknown := next((name for name in _UNKNOWN if options.get(name) is not None), None):
        raise NotImplementedError(f"its attention has a {unknown}")
    causal = bool(getattr(module, "is_causal", True) if is_causal is None else is_causal)
    reach = None
    if sliding_window is not None:
        # The masks of transformers: the window's own token counts in those that look back, not in those of two ways.
        own = getattr(getattr(module, "config", None), "sliding_window", None) or sliding_window
        reach = own - 1 if causal else own
    shared = query.shape[1] != key.shape[1]
    if HAS_KERNEL and query.is_cuda and query.dtype in HALVES:
        far = -1 if reach is None else reach
        states = _kernel(
            query[0].transpose(0, 1).contiguous(),
            key[0].transpose(0, 1).contiguous(),
            value[0].transpose(0, 1).contiguous(),
            cu_seq_lens_q,
            cu_seq_lens_q,
            max_length_q,
            max_length_q,
            scale=scaling,
            window_size=(far, 0 if causal else far),
            enable_gqa=shared,
        )
        return states[None], None
    texts = [
        scaled_dot_product_attention(
            query[:, :, start:end],
            key[:, :, start:end],
            value[:, :, start:end],
            attn_mask=_mask(end - start, causal, reach, query.device),
            scale=scaling,
            enable_gqa=shared,
        )
        for start, end in pairwise(cu_seq_lens_q.tolist())
    ]
    return torch.cat(texts, dim=2).transpose(1, 2).contiguous(), None


def _mask(length: int, causal: bool, reach: int | None, device: torch.device) -> Tensor | None:
    """Which tokens see which, shape ``[length, length]``; ``None`` for all."""
    if not causal and reach is None:
        return None
    place = torch.arange(length, device=device)
    back = place[:, None] - place
    seen = back >= 0 if causal else torch.ones_like(back, dtype=torch.bool)
    return seen if reach is None else seen & (back.abs() <= reach)


AttentionInterface.register(PACKED, attend)
AttentionMaskInterface.register(PACKED, sdpa_mask)
