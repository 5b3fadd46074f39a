"""SAELens: ``cfg.json`` and ``sae_weights.safetensors``, the format most SAEs of the open are shared in.

Formulas of SAELens 6.54 (``W_enc [d, M]``, ``W_dec [M, d]``), with ``n_j`` the norm of row j of ``W_dec``::

    z = (x - b_dec [apply_b_dec_to_input]) W_enc + b_enc
    standard: relu(z)
    jumprelu: relu(z) [z > threshold]
    topk: the k largest of n z [rescale_acts_by_decoder_norm], or of z

where x is multiplied by the ``scaling_factor`` of ``activation_scaler.json`` beside a checkpoint of a training, and
loses its mean where the model was loaded with ``center_writing_weights``;
and, of SAEs finetuned with versions before 6.0, activations times ``finetuning_scaling_factor``. BatchTopK and
Matryoshka SAEs are saved as jumprelu with a threshold. Files written before 6.0 spell some keys differently.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from splare_plugins.errors import InputError
from splare_plugins.heads.importers import fold
from splare_plugins.heads.importers.fold import Hints
from splare_plugins.heads.importers.tensors import TensorFile, open_tensors
from splare_plugins.heads.sae import SparseAutoencoder
from splare_plugins.machine.files import read_json
from splare_plugins.machine.quiet import importing_saelens

logger = logging.getLogger(__name__)

NAME = "saelens"
FILES = ("cfg.json", "sae_weights.safetensors")
PER_TOKEN = ("constant_norm_rescale", "layer_norm")
FOLDED = ("none", None, False)
AVERAGED = ("expected_average_only_in", True)  # the boolean is what the first versions wrote
SCALING_NAMES = ("finetuning_scaling_factor", "scaling_factor")
SCALER = "activation_scaler.json"
OPTIONAL = (SCALER,)
KWARGS = "model_from_pretrained_kwargs"
# Options of TransformerLens that leave the residual stream as it is, or only say where and how the model runs.
HARMLESS = (
    "attn_implementation",
    "cache_dir",
    "center_unembed",
    "default_padding_side",
    "default_prepend_bos",
    "device",
    "device_map",
    "dtype",
    "first_n_layers",
    "fold_ln",
    "fold_value_biases",
    "load_in_4bit",
    "load_in_8bit",
    "local_files_only",
    "low_cpu_mem_usage",
    "move_to_device",
    "n_ctx",
    "n_devices",
    "refactor_factored_attn_matrices",
    "token",
    "torch_dtype",
    "trust_remote_code",
)
CHECKPOINT = ("revision", "checkpoint_index", "checkpoint_value")
# What only the table inside SAELens says of a release: its states were centred.
CENTRED = ("jbloom/GPT2-Small-SAEs",)


def read(folder: Path, hints: Hints) -> SparseAutoencoder:
    """Read one SAE folder.

    Raises:
        InputError: for architectures, activations, places and normalisations that do not fold, and damaged files.
    """
    config = read_json(folder / "cfg.json")
    hook = _value(config, "hook_name", "hook_point")
    _refuse(config, folder)
    activation, k = _activation(config, folder, hints)
    layer = fold.layer_of(hook, hints, folder)
    norm = _input_norm(config, folder, hints)
    centred = _centred(config, folder, hints)
    with open_tensors(folder / "sae_weights.safetensors") as file:
        width = file.matrix_shape("W_enc")[1]
        gain = _gain(config, file, width, topk=activation == "topk")
        centre = "b_dec" if config.get("apply_b_dec_to_input", True) else None  # the default of its config class
        W, b = fold.encoder(file, "W_enc", "b_enc", transposed=True, gain=gain, centre=centre)
        fold.require_size(W, d_model=config.get("d_in"), width=config.get("d_sae"), where=folder)
        theta = None
        if activation == "jumprelu":
            theta = file.vector("threshold", width).clamp(min=0) * (1.0 if gain is None else gain)
    if norm is not None:  # as SAELens folds it: the scale meets the encoder alone
        W *= fold.input_scale(norm, W.shape[1], folder)
    if centred:  # W (h - mean(h)) is the same as W without the mean of each row
        for rows in W.split(1024):
            rows -= rows.float().mean(dim=1, keepdim=True)
    return fold.make_head(
        NAME,
        W,
        b,
        theta,
        k=k,
        layer=layer,
        hook=str(hook or f"blocks.{layer}.hook_resid_post"),
        input_norm=norm,
        scale="raw, unit decoder norms" if config.get("rescale_acts_by_decoder_norm") else "raw",
        base_model=_value(config, "model_name"),
        published_l0=float(k) if k else None,
    )


def open_library(folder: Path, hints: Hints) -> Callable[[Tensor], Tensor]:
    """Activations as SAELens computes them from the same files.

    What its runner does to states before the SAE sees them, scaling and centring, is done to them here too.
    """
    with importing_saelens():
        from sae_lens import SAE

    config = read_json(folder / "cfg.json")
    norm, centred = _input_norm(config, folder, hints), _centred(config, folder, hints)
    scale = 1.0 if norm is None else fold.input_scale(norm, int(config["d_in"]), folder)
    sae = SAE.load_from_disk(folder, dtype="float32")

    def activations(states: Tensor) -> Tensor:
        if centred:
            states = states - states.mean(dim=1, keepdim=True)
        return sae.to(states.device).encode(states * scale)

    return activations


def _value(config: dict[str, Any], *keys: str) -> Any:
    """A field at the top, or in ``metadata``, where 6.0 moved several."""
    nested = config.get("metadata")
    places = [config, nested if isinstance(nested, dict) else {}]
    return next((place[key] for place in places for key in keys if place.get(key) is not None), None)


def _refuse(config: dict[str, Any], folder: Path) -> None:
    normalisation = config.get("normalize_activations")
    if normalisation in PER_TOKEN:
        raise InputError(
            f"{folder} normalises each token ({normalisation}), which cannot be folded into an encoder; "
            "choose an SAE without it"
        )
    if normalisation == "covariance_whitening":
        raise InputError(f"{folder} whitens its input, which is not folded into its weights; choose an SAE without it")
    if normalisation not in (*AVERAGED, *FOLDED):
        raise InputError(f"{folder} has the unknown normalisation {normalisation!r}")
    reshape = _value(config, "reshape_activations")
    if reshape not in (None, "none"):
        raise InputError(f"{folder} reads the attention heads ({reshape}); only the residual stream is supported")


def _input_norm(config: dict[str, Any], folder: Path, hints: Hints) -> float | None:
    """The mean norm of the states before SAELens scaled them to ``sqrt(d_in)``; ``None`` where they were not scaled.

    SAELens folds the scale in when a training ends, and says so; checkpoints have it in a file beside them.
    """
    if config.get("normalize_activations") not in AVERAGED:
        return None
    d_in = float(config.get("d_in") or 0)
    path = folder / SCALER
    factor = read_json(path).get("scaling_factor") if path.is_file() else None
    if factor:
        return math.sqrt(d_in) / float(factor)
    if hints.input_norm is None:
        raise InputError(
            f"{folder} was trained on scaled states, and nothing says by how much; add --input-norm with their mean "
            "norm, which is sqrt(d_in) over the norm_scaling_factor where SAELens lists one, or "
            f"--input-norm {math.sqrt(d_in):.8g} where the scale is in the weights already"
        )
    return hints.input_norm


def _centred(config: dict[str, Any], folder: Path, hints: Hints) -> bool:
    """Whether TransformerLens took the mean out of every state before the SAE saw it.

    Raises:
        InputError: for an option of TransformerLens that changes states in another way.
    """
    options = {name: value for name, value in (_value(config, KWARGS) or {}).items() if value is not None}
    for name in CHECKPOINT:
        if name in options:
            logger.warning(
                "%s was trained on the checkpoint %s=%s of its model; give that one to `splare assemble --revision`",
                folder,
                name,
                options.pop(name),
            )
    if other := sorted(name for name in set(options) - {"center_writing_weights", *HARMLESS} if options[name]):
        raise InputError(
            f"{folder} was trained on a model loaded with {other[0]}={options[other[0]]!r}, which changes its states; "
            "choose an SAE of the model as it is published"
        )
    known = any(place in hints.name for place in CENTRED)
    return bool(options.get("center_writing_weights", known))


def _activation(config: dict[str, Any], folder: Path, hints: Hints) -> tuple[str, int | None]:
    architecture = config.get("architecture", "standard")
    function = config.get("activation_fn_str") or config.get("activation_fn") or "relu"
    if architecture == "jumprelu":
        return "jumprelu", None
    if architecture == "topk" or (architecture == "standard" and function == "topk"):
        k = config.get("k") or (config.get("activation_fn_kwargs") or {}).get("k")
        return "topk", fold.known_k(k, hints, folder)
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
    name = next((name for name in SCALING_NAMES if name in file.shapes), None)
    if name and _value(config, "finetuning_scaling_factor"):  # SAELens too takes the flag without a tensor for no
        factor = file.vector(name, width)
        if topk or bool((factor <= 0).any()):
            raise InputError(
                f"the finetuning_scaling_factor of {file.path} cannot be folded in: "
                + ("it comes after the choice of the k largest" if topk else "it is not positive everywhere")
            )
        gain = factor
    return gain
