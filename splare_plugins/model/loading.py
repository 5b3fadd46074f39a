"""From a model's name to its parts in memory."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import torch

from splare_plugins.backbone import Backbone, load_backbone
from splare_plugins.backbone.placement import DeviceMap
from splare_plugins.backbone.verify import require_backbone
from splare_plugins.config import SideConfig, SplareConfig
from splare_plugins.errors import InputError
from splare_plugins.heads import Head, load_head
from splare_plugins.model.locate import locate_model
from splare_plugins.model.splade import convert_named, recognise_splade

DTYPES = ("float32", "bfloat16", "float16")


class Parts(NamedTuple):
    """What a model is made of."""

    config: SplareConfig
    backbone: Backbone
    head: Head
    folder: Path
    """The model folder that they came from."""


def load_parts(
    name_or_path: str | Path,
    *,
    revision: str | None = None,
    device: str = "auto",
    dtype: str | torch.dtype = "auto",
    attention: str = "auto",
    quantization: str | None = "model",
    device_map: DeviceMap | None = None,
    query: dict[str, Any] | None = None,
    document: dict[str, Any] | None = None,
    local_files_only: bool = False,
    verify: bool = True,
) -> Parts:
    """Load the parts of a SPLARE model, or take those of a SPLADE model apart; see ``SplareModel.from_pretrained``."""
    folder = locate_model(str(name_or_path), revision=revision, local_files_only=local_files_only)
    splade = recognise_splade(folder)
    where = choose_device(device, device_map)
    precision = choose_precision(dtype, where)
    head: Head
    if splade is None:
        config, source = SplareConfig.load(folder), folder
        if verify:
            require_backbone(config, folder)
        head = load_head(config.head_kind, folder / config.head, sha256=config.head_sha256)
    else:
        (config, head), source = convert_named(splade, name_or_path, folder), splade.transformer
    config = dataclasses.replace(
        config,
        query=_side(config.query, query, "query"),
        document=_side(config.document, document, "document"),
    )
    if quantization != "model":
        config = dataclasses.replace(config, quantization=quantization)
    backbone = load_backbone(
        config,
        source,
        device=where,
        dtype=precision,
        attention=attention,
        device_map=device_map,
        local_files_only=local_files_only,
    )
    _require_fit(config, backbone, head)
    return Parts(config, backbone, head.place(backbone.device, precision), folder)


def _side(side: SideConfig, changes: dict[str, Any] | None, name: str) -> SideConfig:
    try:
        changed = dataclasses.replace(side, **(changes or {}))
    except TypeError as error:
        fields = ", ".join(field.name for field in dataclasses.fields(SideConfig))
        raise InputError(f"the settings of {name} are {fields}, not {', '.join(changes or {})}") from error
    if isinstance(changed.max_length, bool) or not isinstance(changed.max_length, int) or changed.max_length < 1:
        raise InputError(f"the max_length of {name} must be a whole number from 1, not {changed.max_length!r}")
    return changed


def _require_fit(config: SplareConfig, backbone: Backbone, head: Head) -> None:
    size = backbone.model.config.hidden_size
    if head.state_size != size:
        raise InputError(
            f"the head of {config.name} reads states of size {head.state_size}, but its backbone gives {size}; they "
            "belong to different models"
        )
    longest = max(config.query.max_length, config.document.max_length)
    if backbone.positions is not None and longest > backbone.positions:
        raise InputError(
            f"{config.name} is to take {longest} tokens of a text, but its backbone has {backbone.positions} "
            "positions; set max_length of query and document to no more"
        )


def choose_device(name: str, device_map: DeviceMap | None) -> torch.device:
    """The device of that name; ``"auto"`` takes cuda, else mps, else cpu."""
    if device_map is not None:
        if name != "auto":
            raise InputError(f"give a device ({name}) or a device map, not both")
        if isinstance(device_map, dict) and {str(place) for place in device_map.values()} <= {"cpu", "disk"}:
            return torch.device("cpu")
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"the device {name!r} cannot be used here; try auto or cpu") from error
    return device


def choose_precision(dtype: str | torch.dtype, device: torch.device) -> torch.dtype:
    """The dtype of that name; ``"auto"`` is bfloat16 on cuda and float32 elsewhere."""
    if dtype == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    name = str(dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise InputError(f"there is no dtype {name!r} for weights; try auto, {' or '.join(DTYPES)}")
    precision: torch.dtype = getattr(torch, name)
    return precision
