"""llamascopium (formerly lm-saes) and Llama-Scope-R1-Distill: ``config.json`` and ``sae_weights.safetensors``.

Two spellings of the same record: ``encoder.weight [M, d]``, ``decoder.weight [d, M]``, ``log_jumprelu_threshold``
(R1-Distill), or ``W_E [d, M]``, ``W_D [M, d]``, ``activation_function.log_jumprelu_threshold`` (native). With
``s = sqrt(d) / dataset_average_activation_norm`` and ``n_j`` the decoder norm where
``sparsity_include_decoder_norm`` is set (else 1), a latent fires when ``z' = n (s E x + e)`` is above
``exp(log_jumprelu_threshold)``: the threshold belongs to the normalised scale. Kept on the raw scale with unit
decoder norms, as Llama Scope is::

    W = n E        b = n e / s        theta = exp(log_jumprelu_threshold) / s

The library itself divides activations by n again; one positive factor a latent changes no active set. The norm is in
the state dict (``dataset_average_activation_norm.<hook>``), in the config, or given by the user. Source: llamascopium
2.0.0b34.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from splare_plugins.errors import InputError
from splare_plugins.heads.importers import fold
from splare_plugins.heads.importers.fold import Hints
from splare_plugins.heads.importers.llama_scope import input_scale, supported_layer
from splare_plugins.heads.importers.tensors import TensorFile, open_tensors
from splare_plugins.heads.sae import SparseAutoencoder
from splare_plugins.machine.files import read_json

NAME = "llamascopium"
FILES = ("config.json", "sae_weights.safetensors")
THRESHOLDS = ("log_jumprelu_threshold", "activation_function.log_jumprelu_threshold")


def read(folder: Path, hints: Hints) -> SparseAutoencoder:
    """Read one SAE folder, like ``400M-Slimpajama-400M-OpenR1-Math-220k/L15R``.

    Raises:
        InputError: for transcoders, crosscoders, Lorsas, GLU encoders, an unknown input norm, and damaged files.
    """
    config = read_json(folder / "config.json")
    if config.get("sae_type", "sae") != "sae":
        raise InputError(f"{folder} is a {config['sae_type']}; of llamascopium only the type sae is supported")
    layer = supported_layer(config, folder)
    with open_tensors(folder / "sae_weights.safetensors") as file:
        native = "W_E" in file.shapes
        if "W_E_glu" in file.shapes:
            raise InputError(
                f"{folder} is a gated SAE (GLU encoder), which one matrix and one threshold cannot express"
            )
        weight, bias, decoder = (
            ("W_E", "b_E", "W_D") if native else ("encoder.weight", "encoder.bias", "decoder.weight")
        )
        width = file.matrix_shape(weight)[1 if native else 0]
        norms = None
        if config.get("sparsity_include_decoder_norm"):
            norms = fold.decoder_norms(file, decoder, width=width, latents_first=native)
        W = fold.encoder(file, weight, transposed=native, gain=norms)
        factor = config.get("expansion_factor")
        said = config.get("d_sae") or (int(factor * config["d_model"]) if factor and config.get("d_model") else None)
        fold.require_size(W, d_model=config.get("d_model"), width=said, where=folder)
        b = file.vector(bias, width) * (1.0 if norms is None else norms)
        if config.get("apply_decoder_bias_to_pre_encoder"):
            b -= fold.product(W, file.vector("b_D" if native else "decoder.bias", W.shape[1]))
        s = input_scale(config, W.shape[1], folder, _stored_norm(config, file) or hints.input_norm)
        activation, theta, k = _activation(config, file, width, folder)
    card = fold.make_card(
        NAME,
        W,
        layer=layer,
        hook=config["hook_point_in"],
        activation=activation,
        scale="raw" if norms is None else "raw, unit decoder norms",
        licence="apache-2.0" if "Llama-Scope" in hints.name else None,
        base_model=config.get("model_name"),
        published_l0=config.get("top_k"),
    )
    return SparseAutoencoder(W, b / s, theta / s, k=k, card=card)


def _stored_norm(config: dict[str, Any], file: TensorFile) -> float | None:
    name = f"dataset_average_activation_norm.{config.get('hook_point_in')}"
    return float(file.vector(name, 1).item()) if name in file.shapes else None


def _activation(config: dict[str, Any], file: TensorFile, width: int, folder: Path) -> tuple[str, Tensor, int | None]:
    """Activation, thresholds on the normalised scale, and k."""
    function = config.get("act_fn")
    if function == "jumprelu":
        name = next((name for name in THRESHOLDS if name in file.shapes), THRESHOLDS[0])
        return "jumprelu", file.vector(name, width).exp(), None
    if function == "relu":
        return "relu", torch.zeros(width), None
    if function == "topk" and config.get("top_k"):
        return "topk", torch.zeros(width), int(config["top_k"])
    raise InputError(f"{folder} has the activation {function!r}; jumprelu, relu and topk are supported")
