"""A backbone with a peft adapter attached, and the two written apart, each as the rest of the package reads it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from splare_plugins.backbone import Backbone
from splare_plugins.errors import InputError
from splare_plugins.machine.files import file_sha256

WEIGHTS = "adapter_model.safetensors"
SETTINGS = "adapter_config.json"
_FLAG = "_hf_peft_config_loaded"


def is_adapted(backbone: Backbone) -> bool:
    """Whether an adapter was added to the backbone and not merged."""
    return bool(getattr(backbone.model, _FLAG, False))


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
    backbone.model.save_pretrained(folder)
    path = folder / SETTINGS
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings["base_model_name_or_path"] = base  # transformers puts a path of this machine's cache there
    path.write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return file_sha256(folder / WEIGHTS)


def attach_adapter(backbone: Backbone, folder: Path, sha256: str | None) -> None:
    """Read what :func:`save_adapter` wrote and attach it, not merged, so that it can be trained further.

    Raises:
        InputError: if it is missing, or is not the one with the hash ``sha256``.
    """
    weights = folder / WEIGHTS
    if not weights.is_file():
        raise InputError(f"{folder} holds no {WEIGHTS}; fetch or save the encoder again")
    if sha256 is not None and file_sha256(weights) != sha256:
        raise InputError(f"{weights} does not have the hash that its encoder names; fetch or save the encoder again")
    backbone.model.load_adapter(str(folder), is_trainable=True)
    backbone.model.eval()


def save_backbone(backbone: Backbone, folder: Path) -> str:
    """Write the backbone's weights without its adapter, with config and tokenizer.

    Returns:
        sha256 over the weight files.

    Raises:
        InputError: if the weights are quantised, since they would no longer be those that the model names.
    """
    if getattr(backbone.model, "is_quantized", False):
        raise InputError("quantised weights are not saved; save the model that they were made from")
    with _without_adapter(backbone) as state:
        backbone.model.save_pretrained(folder, state_dict=state)
    backbone.tokenizer.save_pretrained(folder)
    return file_sha256(*sorted(folder.glob("*.safetensors")))


@contextmanager
def _without_adapter(backbone: Backbone) -> Iterator[dict[str, object] | None]:
    """The weights as they were before the adapter was added; ``None`` for those of the model as it is."""
    if not is_adapted(backbone):
        yield None
        return
    names = set(backbone.model.peft_config)
    state = {
        key.replace(".base_layer.", "."): value
        for key, value in backbone.model.state_dict().items()
        if names.isdisjoint(key.split("."))  # an adapter's tensors have its name in their path
    }
    setattr(backbone.model, _FLAG, False)  # with it, transformers saves the adapter and nothing else
    try:
        yield state
    finally:
        setattr(backbone.model, _FLAG, True)
