"""The way from padded tokens to latent weights as one module without a loop, so that a graph can be made of it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from splare_plugins.backbone import Backbone
from splare_plugins.config import SplareConfig
from splare_plugins.heads import Head
from splare_plugins.pooling.norms import drop_padded_outliers, scale_by_norm


class PaddedEncoder(nn.Module):
    """Backbone, head, pool, activation and norm of a model.

    Args:
        config: says which tokens are outliers, and the power of the norm.
        backbone: gives the states.
        head: turns them into weights.
    """

    def __init__(self, config: SplareConfig, backbone: Backbone, head: Head) -> None:
        super().__init__()
        self.model = backbone.model
        self.head = head
        self.ratio = config.max_token_norm_ratio
        self.norm_power = config.norm_power

    def forward(self, ids: Tensor, mask: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
        """Weights of texts and states of their tokens.

        Args:
            ids: token ids, int64, shape ``[texts, tokens]``.
            mask: 1 for real tokens and 0 for padding, int64, of the same shape.
            keep: tokens that may be pooled, bool, of the same shape.

        Returns:
            weights, shape ``[texts, width]``; and states, shape ``[texts, tokens, d]``.
        """
        states = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
        keep = drop_padded_outliers(states, keep, self.ratio)
        values = self.head.token_values(states).masked_fill(~keep[..., None], -torch.inf)
        return scale_by_norm(self.head.activate(values.amax(1)), self.norm_power), states
