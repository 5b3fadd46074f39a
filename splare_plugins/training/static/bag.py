"""The model's own head on a bag of token states: what is trained, and what becomes a table afterwards."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from splare_plugins.heads import SparseAutoencoder
from splare_plugins.pooling import activate, sae_max_pool
from splare_plugins.pooling.norms import scale_by_norm


class TokenBag(nn.Module):
    """Weights of a text: the head's activation of the maximum over its tokens of ``W s(t) + a(t) + b``.

    The state of a token is the one that it has alone in a query, changed by a linear map that all tokens share and by
    a difference of its own; its offset is a line over how rare it is, and a difference. Tokens that training never
    saw have what is shared.

    Args:
        start: states of the tokens alone, shape ``[tokens, d]``.
        rarity: of each token, such as minus its log probability, shape ``[tokens]``.
        head: the model's; it stays as it is.
        norm_power: of the model.
        bfloat16: make the product with the head's rows in it.
    """

    start: Tensor
    rarity: Tensor
    rows: Tensor
    b: Tensor
    theta: Tensor

    def __init__(
        self, start: Tensor, rarity: Tensor, head: SparseAutoencoder, *, norm_power: float, bfloat16: bool = False
    ) -> None:
        super().__init__()
        count, size = start.shape
        self.norm_power = norm_power
        self.dtype = torch.bfloat16 if bfloat16 else torch.float32
        self.register_buffer("start", start)
        self.register_buffer("rarity", (rarity - rarity.mean()) / rarity.std().clamp_min(1e-6))
        # An offset is one more dimension of the state, which each latent reads with weight 1.
        self.register_buffer("rows", torch.cat([head.W.detach().float().cpu(), torch.ones(head.width, 1)], dim=1))
        self.register_buffer("b", head.b.detach().float().cpu())
        self.register_buffer("theta", head.theta.detach().float().cpu())
        self.map = nn.Parameter(torch.zeros(size, size))
        self.shift = nn.Parameter(torch.zeros(size))
        self.line = nn.Parameter(torch.zeros(2))
        self.states = nn.Embedding(count, size, sparse=True)
        self.offsets = nn.Embedding(count, 1, sparse=True)
        nn.init.zeros_(self.states.weight)
        nn.init.zeros_(self.offsets.weight)

    def token_states(self, tokens: Tensor) -> Tensor:
        """States with their offsets, shape ``[tokens, d + 1]``."""
        start = self.start[tokens]
        states = start + start @ self.map + self.shift + self.states(tokens)
        offsets = self.line[0] + self.line[1] * self.rarity[tokens, None] + self.offsets(tokens)
        return torch.cat([states, offsets], dim=1)

    def forward(self, texts: Sequence[np.ndarray]) -> Tensor:
        """Weights of texts, given as the ids of their tokens, of which each has one; shape ``[texts, width]``."""
        ids = [torch.from_numpy(np.unique(text)) for text in texts]
        tokens, places = torch.cat(ids).unique(return_inverse=True)
        bounds = torch.tensor([0, *np.cumsum([len(each) for each in ids])])
        states = self.token_states(tokens)[places]
        keep = torch.ones(len(states), dtype=torch.bool)
        pooled = sae_max_pool(states.to(self.dtype), self.rows.to(self.dtype), bounds, keep)
        return scale_by_norm(activate(pooled, self.b, self.theta), self.norm_power)

    @torch.inference_mode()
    def token_weights(self, tokens: Tensor) -> Tensor:
        """Weights of single tokens before the norm, as a table holds them, shape ``[tokens, width]``."""
        return activate(self.token_states(tokens) @ self.rows.T, self.b, self.theta)
