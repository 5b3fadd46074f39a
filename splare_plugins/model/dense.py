"""The backbone of a model as the dense encoder that it was: mean over tokens, as E5 defines it."""

from __future__ import annotations

import dataclasses
from weakref import WeakKeyDictionary

import numpy as np
import torch

from splare_plugins.backbone import Backbone, load_backbone
from splare_plugins.backbone.finite import finite_rows, require_finite
from splare_plugins.config import Side, SplareConfig
from splare_plugins.errors import InputError
from splare_plugins.machine import Progress
from splare_plugins.model.batching import length_batches
from splare_plugins.model.encoder import Encoder, default_tokens
from splare_plugins.model.splare import SplareModel

_UNADAPTED: WeakKeyDictionary[SplareModel, Backbone] = WeakKeyDictionary()


def require_dense(config: SplareConfig) -> None:
    """Raise an ``InputError`` for a model whose backbone was no dense encoder: cut, or made for a language model."""
    if config.layer is not None or config.head_kind != "sae":
        raise _not_dense(config)


def _not_dense(config: SplareConfig) -> InputError:
    return InputError(
        f"the backbone of {config.name} is not a dense encoder (its layers were cut, or made for a language "
        "model); take a dense encoder of its own"
    )


def dense_backbone(model: Encoder) -> Backbone:
    """The backbone as it was before an adapter went into its weights.

    A model with an adapter loads it a second time, once, and keeps it.

    Raises:
        InputError: if it is not a dense encoder: cut, or made for a language model; or its folder is not known.
    """
    config = model.config
    require_dense(config)
    if not isinstance(model, SplareModel):
        raise _not_dense(config)
    if config.adapter is None:
        return model.backbone
    if model not in _UNADAPTED:
        if model.folder is None:
            raise InputError(
                f"the backbone of {config.name} has an adapter; load the model from its folder to undo it"
            )
        plain = dataclasses.replace(config, adapter=None, adapter_sha256=None)
        dtype = model.backbone.model.dtype
        _UNADAPTED[model] = load_backbone(plain, model.folder, device=model.device, dtype=dtype)
    return _UNADAPTED[model]


@torch.inference_mode()
def dense_vectors(
    model: Encoder,
    texts: list[str],
    side: Side,
    *,
    tokens_per_batch: int | None = None,
    on_progress: Progress | None = None,
) -> np.ndarray:
    """Mean of the states of all tokens, prompt and special tokens included, of length 1.

    The arguments are those of :meth:`Encoder.encode`.

    Returns:
        float32, shape ``[texts, d]``.

    Raises:
        InputError: if the backbone is not a dense encoder, see :func:`dense_backbone`.
    """
    backbone = dense_backbone(model)
    settings = model.config.side(side)
    tokenised = backbone.tokenize(texts, settings.prompt, settings.max_length)
    vectors = np.empty((len(texts), backbone.model.config.hidden_size), dtype=np.float32)
    budget = tokens_per_batch or default_tokens(model.device.type)
    for batch in length_batches([len(tokens.ids) for tokens in tokenised], budget, packed=backbone.packed):
        states, offsets = backbone([tokenised[number] for number in batch])
        means = torch.segment_reduce(states.float(), "mean", offsets=offsets)
        require_finite(finite_rows(means).cpu().numpy(), batch, texts.__getitem__, backbone.model.dtype)
        vectors[batch] = torch.nn.functional.normalize(means, dim=1).cpu().numpy()
        if on_progress is not None:
            on_progress(len(batch))
    return vectors
