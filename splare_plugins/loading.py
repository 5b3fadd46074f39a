"""From a model's name to its parts in memory."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch

from splare_plugins.backbone import Backbone, load_backbone
from splare_plugins.config import SplareConfig
from splare_plugins.errors import InputError
from splare_plugins.heads import Head, load_head
from splare_plugins.locate import locate_model
from splare_plugins.splade import convert_splade, recognise_splade


class Parts(NamedTuple):
    """What a model is made of."""

    config: SplareConfig
    backbone: Backbone
    head: Head
    folder: Path
    """The model folder that they came from."""


def load_parts(
    name_or_path: str | Path, *, revision: str | None, device: str, dtype: str | torch.dtype, local_files_only: bool
) -> Parts:
    """Load the parts of a SPLARE model, or take those of a SPLADE model apart; see ``SplareModel.from_pretrained``."""
    folder = locate_model(str(name_or_path), revision=revision, local_files_only=local_files_only)
    splade = recognise_splade(folder)
    where = _device(device)
    precision = _precision(dtype, where)
    head: Head
    if splade is None:
        config, source = SplareConfig.load(folder), folder
        head = load_head(config.head_kind, folder / config.head, sha256=config.head_sha256)
    else:
        # A hub's snapshot is named by its commit, a folder by itself.
        hub = not Path(name_or_path).is_dir()
        name, commit = (str(name_or_path), folder.name) if hub else (folder.resolve().name, None)
        (config, head), source = convert_splade(splade, name, commit), splade.transformer
    backbone = load_backbone(config, source, device=where, dtype=precision, local_files_only=local_files_only)
    return Parts(config, backbone, head.place(where, precision), folder)


def _device(name: str) -> torch.device:
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


def _precision(dtype: str | torch.dtype, device: torch.device) -> torch.dtype:
    if dtype == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    precision = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if not isinstance(precision, torch.dtype):
        raise InputError(f"there is no dtype {dtype!r}; try auto, float32 or bfloat16")
    return precision
