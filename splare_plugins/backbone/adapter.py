"""A peft adapter on a backbone."""

from __future__ import annotations

import warnings
from pathlib import Path

from safetensors import safe_open
from transformers import PreTrainedModel

from splare_plugins.backbone.placement import quiet_bitsandbytes
from splare_plugins.errors import InputError
from splare_plugins.machine.files import file_sha256


def apply_adapter(model: PreTrainedModel, folder: Path, sha256: str | None) -> PreTrainedModel:
    """The model with a peft adapter: merged into its weights, or beside them where they are quantised.

    Merging into quantised weights would round the sum again, so there the adapter runs as it was trained.

    Raises:
        InputError: if the adapter is missing, not the one that its model names, made for another model, or to be
            merged into weights that are offloaded.
    """
    quiet_bitsandbytes()  # peft imports it where it is installed
    from peft import PeftModel, get_peft_model_state_dict

    weights = folder / "adapter_model.safetensors"
    if not weights.is_file():
        raise InputError(f"{folder} holds no adapter_model.safetensors; save the adapter with peft again")
    if sha256 is not None and file_sha256(weights) != sha256:
        raise InputError(f"{weights} does not have the hash that its model names; fetch the model again")
    if {"cpu", "disk"} & set(getattr(model, "hf_device_map", {}).values()):
        raise InputError(
            "an adapter cannot be merged into weights that are offloaded to cpu or disk; merge it once with peft's "
            "merge_and_unload, or use more devices"
        )
    with safe_open(weights, "pt") as file:
        found = set(file.keys())
    with warnings.catch_warnings():
        # What it warns of, missing tensors, is an error here.
        warnings.filterwarnings("ignore", message="Found missing adapter keys")
        # Between peft and transformers, and nothing that a user could change.
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)
        adapted = PeftModel.from_pretrained(model, folder)
    wanted = get_peft_model_state_dict(adapted, save_embedding_layers=False).keys()
    if missing := sorted(wanted - found):
        raise InputError(
            f"the adapter {folder} lacks {missing[0]} and {len(missing) - 1} more tensors that its configuration asks "
            f"for; it was saved from another model than a {type(model).__name__}"
        )
    return adapted.get_base_model() if getattr(model, "is_quantized", False) else adapted.merge_and_unload()
