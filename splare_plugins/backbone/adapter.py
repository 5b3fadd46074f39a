"""peft adapters on a backbone: merged when a model is loaded, or attached and saved apart where it is trained."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import safe_open
from safetensors.torch import load_file

from splare_plugins.backbone.backbone import Backbone
from splare_plugins.backbone.placement import quiet_bitsandbytes
from splare_plugins.errors import InputError
from splare_plugins.machine.files import file_sha256, read_json, write_json

if TYPE_CHECKING:
    from transformers import PreTrainedModel

WEIGHTS = "adapter_model.safetensors"
SETTINGS = "adapter_config.json"
_PEFT = "base_model.model."


def apply_adapter(model: PreTrainedModel, folder: Path, sha256: str | None) -> PreTrainedModel:
    """The model with a peft adapter: merged into its weights, or beside them where they are quantised.

    Merging into quantised weights would round the sum again, so there the adapter runs as it was trained.

    Raises:
        InputError: if the adapter is missing, not the one that its model names, made for another model, or to be
            merged into weights that are offloaded.
    """
    quiet_bitsandbytes()  # peft imports it where it is installed
    from peft import PeftModel, get_peft_model_state_dict

    weights = _weights(folder, sha256)
    if {"cpu", "disk"} & set(getattr(model, "hf_device_map", {}).values()):
        raise InputError(
            "an adapter cannot be merged into weights that are offloaded to cpu or disk; merge it once with peft's "
            "merge_and_unload, or use more devices"
        )
    with safe_open(weights, "pt") as file:
        found = set(file.keys())
    with _quiet_peft():
        adapted = PeftModel.from_pretrained(model, folder)
    wanted = get_peft_model_state_dict(adapted, save_embedding_layers=False).keys()
    if missing := sorted(wanted - found):
        raise InputError(
            f"the adapter {folder} lacks {missing[0]} and {len(missing) - 1} more tensors that its configuration asks "
            f"for; it was saved from another model than a {type(model).__name__}"
        )
    return adapted.get_base_model() if getattr(model, "is_quantized", False) else adapted.merge_and_unload()


def save_adapter(backbone: Backbone, folder: Path, base: str) -> str:
    """Write the active adapter alone, as peft reads it.

    Args:
        backbone: with one active adapter.
        folder: made where it is missing.
        base: name of the model that it belongs to, for the adapter's own config.

    Returns:
        sha256 of its weights.

    Raises:
        InputError: if several adapters are active, which one folder cannot hold.
    """
    if len(names := backbone.model.active_adapters()) != 1:
        raise InputError(f"the adapters {', '.join(names)} are all active; choose one with set_adapter, or merge them")
    with _quiet_peft():
        backbone.model.save_pretrained(folder)
    path = folder / SETTINGS
    # transformers puts a path of this machine's cache there
    write_json(path, {**read_json(path), "base_model_name_or_path": base})
    return file_sha256(folder / WEIGHTS)


def attach_adapter(backbone: Backbone, folder: Path, sha256: str | None) -> None:
    """Read what :func:`save_adapter` wrote and attach it, not merged, so that it can be trained further.

    Raises:
        InputError: if it is missing, is not the one with the hash ``sha256``, or is of a kind that comes out otherwise
            than it was saved.
    """
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    saved = load_file(_weights(folder, sha256))
    saved = {name.removeprefix(_PEFT): tensor for name, tensor in saved.items()}
    with _quiet_peft():
        backbone.model.load_adapter(str(folder), is_trainable=True)
        # transformers leaves some kinds of tensors as they were initialised, DoRA's magnitudes for one.
        set_peft_model_state_dict(backbone.model, saved)
        found = get_peft_model_state_dict(backbone.model)
    kept = {name for name in saved if name in found and torch.equal(found[name].cpu(), saved[name])}
    if lost := next(iter(saved.keys() - kept), None):
        raise InputError(f"the adapter {folder} cannot be attached as it was saved: {lost} comes out otherwise")
    backbone.model.eval()


@contextmanager
def _quiet_peft() -> Iterator[None]:
    """Silence what peft and transformers tell one another, and what is checked here."""
    with warnings.catch_warnings():
        # What it warns of, missing tensors, is an error here.
        warnings.filterwarnings("ignore", message="Found missing adapter keys")
        # Between peft and transformers, and nothing that a user could change.
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)
        # It looks for the vocabulary of a model by name on the hub; none is saved in an adapter here.
        warnings.filterwarnings("ignore", message="Could not find a config file")
        yield


def _weights(folder: Path, sha256: str | None) -> Path:
    """The adapter's weight file, which must have the hash ``sha256``."""
    weights = folder / WEIGHTS
    if not weights.is_file():
        raise InputError(f"{folder} holds no {WEIGHTS}; fetch the model again, or save the adapter with peft again")
    if sha256 is not None and file_sha256(weights) != sha256:
        raise InputError(f"{weights} does not have the hash that its model names; fetch or save the model again")
    return weights
