"""A head whose latents are counted in deviations from what they usually are: an SAE made fit for pruning, untrained.

The latents that fire most strongly on a text are often those that fire on every text, and a budget of 40 or 400
keeps little else. ``z -> (z - mean) / spread - threshold``, by mean and spread of each latent over sample texts, cures
that. It is an affine map per latent, so it folds into ``W`` and ``b``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from splare_plugins.config import Side
from splare_plugins.errors import InputError
from splare_plugins.heads import SparseAutoencoder
from splare_plugins.model.batching import length_batches
from splare_plugins.model.encoder import TOKENS_PER_BATCH, Encoder
from splare_plugins.model.forward import token_states
from splare_plugins.model.splare import SplareModel
from splare_plugins.pooling import sae_max_pool
from splare_plugins.pooling.norms import drop_outliers

_FEWEST = 2


def standardised(model: Encoder, queries: Sequence[str], documents: Sequence[str], *, threshold: float) -> SplareModel:
    """The model with each latent of its SAE standardised over sample texts; its head is a plain ReLU one.

    Thresholds and a TopK of each token give way: how often a latent fires is what ``threshold`` says.

    Args:
        model: whose head is an SAE.
        queries: sample queries.
        documents: sample documents.
        threshold: deviations above its mean from which on a latent fires.

    Raises:
        InputError: for a head of another kind, a threshold that is not a number, or fewer than two texts of a side.
    """
    head = model.head if isinstance(model, SplareModel) else None
    if not isinstance(model, SplareModel) or not isinstance(head, SparseAutoencoder):
        raise InputError(f"{model.config.name} has no SAE whose latents could be standardised; omit the threshold")
    if not math.isfinite(threshold):
        raise InputError(f"latents cannot be standardised with a threshold of {threshold}; take 0.5 or the like")
    center, gain = center_and_gain(model, head, queries, documents, threshold=threshold)
    card = {
        **head.card,
        "standardised": {"threshold": threshold, "queries": len(queries), "documents": len(documents)},
    }
    plain = SparseAutoencoder(
        head.W.data.cpu().float(), head.b.data.cpu().float(), card=card, labels=head.lasting_labels
    )
    return SplareModel(model.config, model.backbone, plain.calibrated(center, gain).place(model.device, head.W.dtype))


def center_and_gain(
    model: SplareModel, head: SparseAutoencoder, queries: Sequence[str], documents: Sequence[str], *, threshold: float
) -> tuple[Tensor, Tensor]:
    """What :meth:`SparseAutoencoder.calibrated` takes to standardise a head, float32, shape ``[width]`` each.

    Queries and documents weigh the same, however many there are of each. A latent that is the same in all texts of the
    sample keeps its scale.
    """
    sides: tuple[tuple[Side, Sequence[str]], ...] = (("query", queries), ("document", documents))
    means, spreads = [], []
    for side, texts in sides:
        if len(texts) < _FEWEST:
            raise InputError(f"standardising latents takes at least {_FEWEST} texts of each side, not {len(texts)}")
        pooled = torch.cat(list(pooled_values(model, head, texts, side)))
        means.append(pooled.mean(0))
        spreads.append(pooled.std(0))
    mean, spread = torch.stack(means).mean(0), torch.stack(spreads).mean(0)
    spread = torch.where(spread > 0, spread, 1.0)
    return mean + threshold * spread, 1 / spread


@torch.inference_mode()
def pooled_values(model: SplareModel, head: SparseAutoencoder, texts: Sequence[str], side: Side) -> Iterator[Tensor]:
    """Pre-activations ``z``, maxima over a text's tokens; shape ``[batch, width]`` at a time, in any order."""
    settings = model.config.query if side == "query" else model.config.document
    tokenised = model.backbone.tokenize(texts, settings.prompt, settings.max_length)
    for numbers in length_batches([len(tokens.ids) for tokens in tokenised], TOKENS_PER_BATCH["cpu"]):
        states, offsets, keep = token_states(model.config, model.backbone, [tokenised[number] for number in numbers])
        keep = drop_outliers(states, offsets, keep, model.config.max_token_norm_ratio)
        yield (sae_max_pool(states, head.W, offsets, keep) + head.b).cpu()
