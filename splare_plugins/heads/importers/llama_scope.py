"""Llama Scope (2024): SAEs of every layer of Llama-3.1-8B, 32,768 or 131,072 latents; SPLARE-7B uses layer 26.

Repositories ``fnlp/Llama3_1-8B-Base-LXR-{8x,32x}``. With ``E``, ``e`` the encoder, ``n_j`` the norm of latent j's
decoder column and ``s = sqrt(d) / dataset_average_activation_norm.in``, the authors' loader computes
``z' = n (s E x + e)`` on the normalised scale. Their constant ``jump_relu_threshold`` belongs to the raw scale with
unit-norm decoder columns, ``z = z' / s``, and that is the scale kept here::

    W = n E        b = n e / s        theta = jump_relu_threshold

A decoder bias subtracted from the normalised input (``apply_decoder_bias_to_pre_encoder``) gives
``b = n (e - E b_dec) / s``. Source: OpenMOSS/Language-Model-SAEs, commit 82056f80.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch

from splare_plugins.errors import InputError
from splare_plugins.heads.importers import fold
from splare_plugins.heads.importers.fold import Hints
from splare_plugins.heads.importers.tensors import open_tensors
from splare_plugins.heads.sae import SparseAutoencoder
from splare_plugins.machine.files import read_json

NAME = "llama-scope"
CONFIG = "hyperparams.json"
WEIGHTS = "checkpoints/final.safetensors"
FILES = (CONFIG, WEIGHTS)


def read(folder: Path, hints: Hints) -> SparseAutoencoder:
    """Read one SAE folder, like ``Llama3_1-8B-Base-L26R-32x``.

    Raises:
        InputError: for transcoders, GLU encoders, per-token normalisation, places other than the residual stream,
            and files that are damaged or do not agree with their config.
    """
    config = read_json(folder / CONFIG)
    layer = supported_layer(config, folder)
    with open_tensors(folder / WEIGHTS) as file:
        width, d_model = file.matrix_shape("encoder.weight")
        norms = (
            fold.decoder_norms(file, "decoder.weight", width=width, latents_first=False)
            if config.get("sparsity_include_decoder_norm")
            else torch.ones(width)
        )
        W = fold.encoder(file, "encoder.weight", transposed=False, gain=norms)
        fold.require_size(W, d_model=config.get("d_model"), width=config.get("d_sae"), where=folder)
        b = norms * file.vector("encoder.bias", width)
        if config.get("apply_decoder_bias_to_pre_encoder"):
            b -= fold.product(W, file.vector("decoder.bias", d_model))
    b /= input_scale(config, d_model, folder, None)
    activation = config.get("act_fn")
    if activation == "jumprelu":
        theta = torch.full((width,), float(config.get("jump_relu_threshold", 0.0)))
    elif activation in ("relu", "topk"):
        theta = torch.zeros(width)
    else:
        raise InputError(f"{folder} has the activation {activation!r}; jumprelu, relu and topk are supported")
    k = int(config["top_k"]) if activation == "topk" else None
    card = fold.make_card(
        NAME,
        W,
        layer=layer,
        hook=config["hook_point_in"],
        activation=activation,
        scale="raw, unit decoder norms" if config.get("sparsity_include_decoder_norm") else "raw",
        licence="apache-2.0",
        base_model="meta-llama/Llama-3.1-8B",
        published_l0=config.get("top_k"),
        decoder_norm_min=float(norms.min()),
        decoder_norm_max=float(norms.max()),
    )
    return SparseAutoencoder(W, b, theta.clamp(min=0), k=k, card=card)


def supported_layer(config: dict[str, Any], folder: Path) -> int:
    """The layer of an OpenMOSS config, after the refusal of what the record cannot hold.

    Raises:
        InputError: naming what is not supported.
    """
    into, out = config.get("hook_point_in"), config.get("hook_point_out")
    if out is not None and into != out:
        raise InputError(f"{folder} is a transcoder from {into} to {out}; only SAEs that rebuild their input work")
    if config.get("use_glu_encoder"):
        raise InputError(f"{folder} is a gated SAE (GLU encoder), which one matrix and one threshold cannot express")
    return fold.residual_layer(into, folder)


def input_scale(config: dict[str, Any], d_model: int, folder: Path, norm: float | None) -> float:
    """The factor s by which OpenMOSS scales states before the encoder.

    Args:
        config: the SAE's.
        d_model: size of a state.
        folder: for messages.
        norm: mean norm of the states where the config does not hold it.

    Raises:
        InputError: for a normalisation that depends on the token or the batch, or where the norm is not known.
    """
    kind = config.get("norm_activation", "dataset-wise")
    if kind == "inference":  # the authors' word for: folded into the weights already
        return 1.0
    if kind != "dataset-wise":
        raise InputError(f"{folder} normalises its input {kind}, which cannot be folded into an encoder")
    averages = config.get("dataset_average_activation_norm") or {}
    average = averages.get("in", averages.get(config.get("hook_point_in"), norm))
    if not average or float(average) <= 0:
        raise InputError(
            f"nothing says how long the states are that {folder} was trained on; add --input-norm with their mean "
            "norm, which is sqrt(d_model) over the scaling factor where SAELens lists one"
        )
    return math.sqrt(d_model) / float(average)
