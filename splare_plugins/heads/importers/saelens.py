"""SAELens: ``cfg.json`` and ``sae_weights.safetensors``, the format most SAEs of the open are shared in.

Formulas of SAELens 6.54 (``W_enc [d, M]``, ``W_dec [M, d]``), with ``n_j`` the norm of row j of ``W_dec``::

    z = (x - b_dec [apply_b_dec_to_input]) W_enc + b_enc
    standard: relu(z)
    jumprelu: relu(z) [z > threshold]
    topk: the k largest of n z [rescale_acts_by_decoder_norm], or of z

and, of SAEs finetuned with versions before 6.0, activations times ``finetuning_scaling_factor``. BatchTopK and
Matryoshka SAEs are saved as jumprelu with a threshold. Files written before 6.0 spell some keys differently and
subtract ``b_dec`` unless told not to.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from torch import Tensor

from splare_plugins.errors import InputError
from splare_plugins.heads.importers import fold
from splare_plugins.heads.importers.fold import Hints
from splare_plugins.heads.importers.tensors import TensorFile, open_tensors
from splare_plugins.heads.sae import SparseAutoencoder
from splare_plugins.machine.files import read_json

logger = logging.getLogger(__name__)

NAME = "saelens"
FILES = ("cfg.json", "sae_weights.safetensors")
PER_TOKEN = ("constant_norm_rescale", "layer_norm")
FOLDED = ("none", None, False, "covariance_whitening")
AVERAGED = ("expected_average_only_in", True)  # the boolean is what the first versions wrote
SCALING_NAMES = ("finetuning_scaling_factor", "scaling_factor")


def read(folder: Path, hints: Hints) -> SparseAutoencoder:
    """Read one SAE folder.

    Raises:
        InputError: for architectures, activations, places and normalisations that do not fold, and damaged files.
    """
    config = read_json(folder / "cfg.json")
    hook = _value(config, "hook_name", "hook_point")
    _refuse(config, folder)
    activation, k = _activation(config, folder)
    layer = fold.residual_layer(hook, folder)
    with open_tensors(folder / "sae_weights.safetensors") as file:
        width = file.matrix_shape("W_enc")[1]
        gain = _gain(config, file, width, topk=activation == "topk")
        centre = "b_dec" if config.get("apply_b_dec_to_input", _version(config) < 6) else None
        W, b = fold.encoder(file, "W_enc", "b_enc", transposed=True, gain=gain, centre=centre)
        fold.require_size(W, d_model=config.get("d_in"), width=config.get("d_sae"), where=folder)
        theta = None
        if activation == "jumprelu":
            theta = file.vector("threshold", width).clamp(min=0) * (1.0 if gain is None else gain)
    return fold.make_head(
        NAME,
        W,
        b,
        theta,
        k=k,
        layer=layer,
        hook=str(hook),
        scale="raw, unit decoder norms" if config.get("rescale_acts_by_decoder_norm") else "raw",
        base_model=_value(config, "model_name"),
        published_l0=float(k) if k else None,
    )


def _value(config: dict[str, Any], *keys: str) -> Any:
    """A field at the top, or in ``metadata``, where 6.0 moved several."""
    nested = config.get("metadata")
    places = [config, nested if isinstance(nested, dict) else {}]
    return next((place[key] for place in places for key in keys if place.get(key) is not None), None)


def _version(config: dict[str, Any]) -> int:
    version = str(_value(config, "sae_lens_version", "sae_lens_training_version") or "0")
    return int(version.split(".")[0]) if version.split(".")[0].isdigit() else 0


def _refuse(config: dict[str, Any], folder: Path) -> None:
    normalisation = config.get("normalize_activations")
    if normalisation in PER_TOKEN:
        raise InputError(
            f"{folder} normalises each token ({normalisation}), which cannot be folded into an encoder; "
            "choose an SAE without it"
        )
    if normalisation in AVERAGED:
        logger.warning(
            "%s was trained on scaled activations; SAELens folds that scale in when it saves, so it is not applied "
            "again: compare the L0 with the published one (`splare sae inspect --backbone`)",
            folder,
        )
    elif normalisation not in FOLDED:
        raise InputError(f"{folder} has the unknown normalisation {normalisation!r}")
    reshape = _value(config, "reshape_activations")
    if reshape not in (None, "none"):
        raise InputError(f"{folder} reads the attention heads ({reshape}); only the residual stream is supported")


def _activation(config: dict[str, Any], folder: Path) -> tuple[str, int | None]:
    architecture = config.get("architecture", "standard")
    function = config.get("activation_fn_str") or config.get("activation_fn") or "relu"
    if architecture == "jumprelu":
        return "jumprelu", None
    if architecture == "topk" or (architecture == "standard" and function == "topk"):
        k = config.get("k") or (config.get("activation_fn_kwargs") or {}).get("k")
        if not k:
            raise InputError(f"{folder}/cfg.json names a TopK SAE without its k; fetch it again")
        return "topk", int(k)
    if architecture == "standard" and function == "relu":
        return "relu", None
    raise InputError(
        f"{folder} is a SAELens SAE of the architecture {architecture!r} with the activation {function!r}; "
        "standard (relu, topk), topk and jumprelu are supported"
    )


def _gain(config: dict[str, Any], file: TensorFile, width: int, *, topk: bool) -> Tensor | None:
    """What every latent is multiplied by, or ``None`` for 1."""
    gain = None
    if topk and config.get("rescale_acts_by_decoder_norm"):
        gain = fold.decoder_norms(file, "W_dec", width=width, latents_first=True)
    if _value(config, "finetuning_scaling_factor"):
        name = next((name for name in SCALING_NAMES if name in file.shapes), SCALING_NAMES[0])
        factor = file.vector(name, width)
        if topk or bool((factor <= 0).any()):
            raise InputError(
                f"the finetuning_scaling_factor of {file.path} cannot be folded in: "
                + ("it comes after the choice of the k largest" if topk else "it is not positive everywhere")
            )
        gain = factor
    return gain
