"""On which contexts each latent fires, how strongly, and at which token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_array

from splare_plugins.config import Side
from splare_plugins.errors import InputError
from splare_plugins.heads import Head
from splare_plugins.machine import Progress
from splare_plugins.model.encoder import Encoder

HEAVIEST = 40
"""Latents of a context that count as firing: as many as a query keeps. A context is about as long as one."""


class Firing(NamedTuple):
    """Latents of contexts, and where each of them peaked."""

    weights: csr_array
    """Activations before any norm, float32, shape ``[contexts, width]``."""
    starts: np.ndarray
    """For each entry of ``weights.data`` the first character of the token at its peak."""
    ends: np.ndarray
    """Likewise the character after it."""


def fire(
    model: Encoder,
    texts: Sequence[str],
    side: Side = "document",
    *,
    heaviest: int = HEAVIEST,
    on_progress: Progress | None = None,
) -> Firing:
    """The heaviest latents of each text.

    Memory beyond the result is one text's tokens by the latents.

    Args:
        model: whose head knows the values of its tokens; any but one run by sentence-transformers.
        texts: to encode.
        side: whether they are encoded as queries or documents.
        heaviest: latents of a text.
        on_progress: called with 1 after each text.

    Raises:
        InputError: for a model whose tokens cannot be looked at.
    """
    head = model.head
    if not isinstance(head, Head):
        raise InputError(f"{model.config.name} is run by another library, which does not show its tokens' latents")
    rows: list[np.ndarray] = []
    for text in texts:
        rows.append(_heaviest(model, head, text, side, heaviest))
        if on_progress is not None:
            on_progress(1)
    table = np.concatenate(rows) if rows else np.empty((0, 4))
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    values = table[:, 1].astype(np.float32)
    weights = csr_array((values, table[:, 0].astype(np.int64), indptr), shape=(len(texts), head.width))
    return Firing(weights, table[:, 2].astype(np.int32), table[:, 3].astype(np.int32))


@torch.inference_mode()
def _heaviest(model: Encoder, head: Head, text: str, side: Side, heaviest: int) -> np.ndarray:
    """Latent, activation, first and last + 1 character of each, by latent; shape ``[latents, 4]``."""
    states, spans = model.pooled_tokens(text, side)
    if not len(states):
        return np.empty((0, 4))
    states = states.to(head.W.device, head.W.dtype)
    pooled, peaks = head.token_values(states).float().max(0)
    weights = head.activate(pooled[None])[0]
    values, latents = weights.topk(min(heaviest, len(weights)))
    latents, order = latents[values > 0].sort()
    at = spans[peaks[latents].cpu().numpy()]
    return np.column_stack([latents.cpu().numpy(), values[values > 0][order].cpu().numpy(), at])
