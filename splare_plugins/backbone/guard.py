"""The guard against the commonest failure in the field: a decoder that silently stayed causal."""

from __future__ import annotations

import torch
from torch import nn

from splare_plugins.backbone.backbone import Backbone
from splare_plugins.errors import SplareError

# Relative change of a state; rounding in float32 stays below, a change of one visible token far above.
UNMOVED = 1e-6
# Attention of these kinds looks both ways when the model's config says so; recurrent and linear layers never do.
TWO_WAY = ("full_attention", "sliding_attention")


@torch.inference_mode()
def require_bidirectional(backbone: Backbone) -> None:
    """Raise unless the first token's state depends on the last token, with and without padding.

    Raises:
        SplareError: if attention is causal, in all layers or in those of a kind that has only one direction.
    """
    name = type(backbone.model).__name__
    kinds = getattr(backbone.model.config, "layer_types", None) or ()
    if one_way := next((kind for kind in kinds if kind not in TWO_WAY), None):
        raise SplareError(
            f"{name} has layers of the kind {one_way!r}, which see only earlier tokens; use another backbone, or set "
            "bidirectional to false"
        )
    size = min(backbone.model.get_input_embeddings().num_embeddings, 1000)
    first = torch.arange(8) % size
    second = torch.cat([first[:-1], (first[-1:] + size // 2) % size])
    device = backbone.device
    for padding in (0, 4):
        ids = nn.functional.pad(torch.stack([first, second]), (0, padding), value=backbone.pad_id)
        mask = (torch.arange(8 + padding) < 8).long().expand(2, -1)
        states = backbone.model(
            input_ids=ids.to(device), attention_mask=mask.to(device) if padding else None
        ).last_hidden_state
        one, other = states[0, 0].float(), states[1, 0].float()
        if (one - other).norm() <= UNMOVED * one.norm():
            raise SplareError(
                f"{name} stayed causal although the model's config asks for bidirectional "
                "attention; use transformers >= 5.2 and attention 'sdpa' or 'eager', or set bidirectional to false"
            )
