"""OpenMOSS: Llama Scope, and what its authors' library llamascopium (formerly lm-saes) saves.

Llama Scope (2024) has SAEs of every layer of Llama-3.1-8B, 32,768 or 131,072 latents, in the repositories
``fnlp/Llama3_1-8B-Base-LXR-{8x,32x}``; SPLARE-7B uses layer 26. Its files spell the tensors ``encoder.weight [M, d]``
and ``decoder.weight [d, M]``, as those of Llama-Scope-R1-Distill do; llamascopium itself spells them ``W_E [d, M]``
and ``W_D [M, d]``. With ``E``, ``e`` the encoder, ``s = sqrt(d) / dataset_average_activation_norm`` and ``n_j`` the
decoder norm of latent j where ``sparsity_include_decoder_norm`` is set (else 1), the authors compute
``z' = n (s E x + e)`` on the normalised scale. Kept is the raw scale with unit decoder norms, ``z = z' / s``::

    W = n E        b = n e / s        theta = jump_relu_threshold                   (Llama Scope)
                                      theta = exp(log_jumprelu_threshold) / s       (llamascopium)

Llama Scope's constant threshold belongs to the raw scale, llamascopium's thresholds to the normalised one. A decoder
bias subtracted from the normalised input (``apply_decoder_bias_to_pre_encoder``) gives ``b = n (e - E b_dec) / s``.
llamascopium divides activations by n again; one positive factor a latent changes no active set. The norm of the states
is in the config, in the state dict (``dataset_average_activation_norm.<hook>``), or given by the user.

Sources: OpenMOSS/Language-Model-SAEs, commit 82056f80; llamascopium 2.0.0b34.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from splare_plugins.errors import InputError
from splare_plugins.heads.importers import fold
from splare_plugins.heads.importers.fold import Hints
from splare_plugins.heads.importers.tensors import TensorFile, open_tensors
from splare_plugins.heads.sae import SparseAutoencoder
from splare_plugins.machine.files import read_json

NAME_1 = "llama-scope"
FILES_1 = ("hyperparams.json", "checkpoints/final.safetensors")
NAME_2 = "llamascopium"
FILES_2 = ("config.json", "sae_weights.safetensors")
THRESHOLDS = ("log_jumprelu_threshold", "activation_function.log_jumprelu_threshold")


class Encoder(NamedTuple):
    """The part that both suites have in common, on the raw scale."""

    layer: int
    W: Tensor
    b: Tensor
    norms: Tensor | None
    """Decoder norms that ``W`` and ``b`` were multiplied by, if any."""
    s: float
    input_norm: float | None
    """What ``s`` comes from."""


def read_llama_scope(folder: Path, hints: Hints) -> SparseAutoencoder:
    """Read one folder of Llama Scope, like ``Llama3_1-8B-Base-L26R-32x``.

    Raises:
        InputError: for transcoders, GLU encoders, per-token normalisation, places other than the residual stream,
            and files that are damaged or do not agree with their config.
    """
    config = read_json(folder / FILES_1[0])
    with open_tensors(folder / FILES_1[1]) as file:
        encoder = _encoder(config, file, folder, hints)
    theta = torch.full_like(encoder.b, float(config.get("jump_relu_threshold", 0.0))).clamp(min=0)
    norms = torch.ones(1) if encoder.norms is None else encoder.norms
    head = _head(
        NAME_1, config, encoder, theta, folder, hints, base_model="meta-llama/Llama-3.1-8B", licence="apache-2.0"
    )
    head.card |= {"decoder_norm_min": float(norms.min()), "decoder_norm_max": float(norms.max())}
    return head


def read_llamascopium(folder: Path, hints: Hints) -> SparseAutoencoder:
    """Read one folder of llamascopium, like ``400M-Slimpajama-400M-OpenR1-Math-220k/L15R``.

    Raises:
        InputError: as :func:`read_llama_scope`, and for crosscoders, Lorsas and an unknown input norm.
    """
    config = read_json(folder / FILES_2[0])
    if config.get("sae_type", "sae") != "sae":
        raise InputError(f"{folder} is a {config['sae_type']}; of llamascopium only the type sae is supported")
    theta = None
    with open_tensors(folder / FILES_2[1]) as file:
        encoder = _encoder(config, file, folder, hints)
        if config.get("act_fn") == "jumprelu":
            name = next((name for name in THRESHOLDS if name in file.shapes), THRESHOLDS[0])
            theta = file.vector(name, len(encoder.W)).exp() / encoder.s
    licence = "apache-2.0" if "Llama-Scope" in hints.name else None
    return _head(NAME_2, config, encoder, theta, folder, hints, base_model=config.get("model_name"), licence=licence)


def _encoder(config: dict[str, Any], file: TensorFile, folder: Path, hints: Hints) -> Encoder:
    into, out = config.get("hook_point_in"), config.get("hook_point_out")
    if out is not None and into != out:
        raise InputError(f"{folder} is a transcoder from {into} to {out}; only SAEs that rebuild their input work")
    if config.get("use_glu_encoder") or "W_E_glu" in file.shapes:
        raise InputError(f"{folder} is a gated SAE (GLU encoder), which one matrix and one threshold cannot express")
    layer = fold.layer_of(into, hints, folder)
    native = "W_E" in file.shapes
    weight, bias = ("W_E", "b_E") if native else ("encoder.weight", "encoder.bias")
    decoder, decoder_bias = ("W_D", "b_D") if native else ("decoder.weight", "decoder.bias")
    width = file.matrix_shape(weight)[1 if native else 0]
    norms = None
    if config.get("sparsity_include_decoder_norm"):
        norms = fold.decoder_norms(file, decoder, width=width, latents_first=native)
    centre = decoder_bias if config.get("apply_decoder_bias_to_pre_encoder") else None
    W, b = fold.encoder(file, weight, bias, transposed=native, gain=norms, centre=centre)
    d_model, factor = config.get("d_model"), config.get("expansion_factor")
    said = config.get("d_sae") or (int(factor * d_model) if factor and d_model else None)
    fold.require_size(W, d_model=d_model, width=said, where=folder)
    norm = _input_norm(config, file, folder, hints)
    s = 1.0 if norm is None else fold.input_scale(norm, W.shape[1], folder)
    return Encoder(layer, W, b / s, norms, s, norm)


def _input_norm(config: dict[str, Any], file: TensorFile, folder: Path, hints: Hints) -> float | None:
    """The mean norm of the states, from which the factor s comes; ``None`` where it is folded in already."""
    kind = config.get("norm_activation", "dataset-wise")
    if kind == "inference":  # the authors' word for: folded into the weights already
        return None
    if kind != "dataset-wise":
        raise InputError(f"{folder} normalises its input {kind}, which cannot be folded into an encoder")
    hook = config.get("hook_point_in")
    stored = f"dataset_average_activation_norm.{hook}"
    norm = (file.vector(stored, 1).item() if stored in file.shapes else None) or hints.input_norm
    averages = config.get("dataset_average_activation_norm") or {}
    average = averages.get("in", averages.get(hook, norm))
    if not average:
        raise InputError(
            f"nothing says how long the states are that {folder} was trained on; add --input-norm with their mean "
            "norm, which is sqrt(d_model) over the scaling factor where SAELens lists one"
        )
    return float(average)


def _head(
    suite: str,
    config: dict[str, Any],
    encoder: Encoder,
    theta: Tensor | None,
    folder: Path,
    hints: Hints,
    **about: Any,
) -> SparseAutoencoder:
    """The head with its card; only a JumpReLU has the thresholds ``theta``."""
    activation = config.get("act_fn")
    if activation not in ("jumprelu", "relu", "topk"):
        raise InputError(f"{folder} has the activation {activation!r}; jumprelu, relu and topk are supported")
    k = fold.known_k(config.get("top_k"), hints, folder) if activation == "topk" else None
    return fold.make_head(
        suite,
        encoder.W,
        encoder.b,
        theta if activation == "jumprelu" else None,
        k=k,
        layer=encoder.layer,
        hook=str(config.get("hook_point_in") or f"blocks.{encoder.layer}.hook_resid_post"),
        input_norm=encoder.input_norm,
        scale="raw" if encoder.norms is None else "raw, unit decoder norms",
        published_l0=config.get("top_k"),
        **about,
    )
