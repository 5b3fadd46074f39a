"""The one way from the tokens of texts to their latent weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from splare_plugins.backbone import Backbone, Tokens, pool_mask
from splare_plugins.config import SplareConfig
from splare_plugins.heads import Head
from splare_plugins.pooling.norms import drop_outliers, scale_by_norm


def token_states(config: SplareConfig, backbone: Backbone, batch: Sequence[Tokens]) -> tuple[Tensor, Tensor, Tensor]:
    """States of the tokens of a batch, packed text after text.

    Returns:
        states, shape ``[tokens, d]``; the first token of each text and the end of the last, shape ``[texts + 1]``; and
        which tokens may be pooled, bool, shape ``[tokens]``.
    """
    states, offsets = backbone(batch)
    return states, offsets, torch.from_numpy(pool_mask(config, batch)).to(states.device)


@torch.inference_mode()
def weights_of(config: SplareConfig, backbone: Backbone, head: Head, batch: Sequence[Tokens]) -> Tensor:
    """Latent weights of the texts of a batch, without gradients, shape ``[texts, width]``."""
    return latent_weights(
        head,
        *token_states(config, backbone, batch),
        max_token_norm_ratio=config.max_token_norm_ratio,
        norm_power=config.norm_power,
    )


def latent_weights(
    head: Head,
    states: Tensor,
    offsets: Tensor,
    keep: Tensor,
    *,
    max_token_norm_ratio: float | None,
    norm_power: float,
) -> Tensor:
    """Pooled, activated and scaled weights of texts as :func:`token_states` packs them, shape ``[texts, width]``.

    The two settings are those of :class:`splare_plugins.SplareConfig`.
    """
    keep = drop_outliers(states, offsets, keep, max_token_norm_ratio)
    return scale_by_norm(head(states, offsets, keep), norm_power)
