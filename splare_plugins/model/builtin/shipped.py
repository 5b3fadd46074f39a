"""What ships of the built-in models beside the wheel's weights; read without torch, since each start asks for it."""

from __future__ import annotations

import hashlib
import json
from importlib.resources import files
from importlib.resources.abc import Traversable

from splare_plugins.config import SplareConfig

# Raised when the conversion makes other files of the same settings, so that old caches are left alone.
CONVERSION = 1
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")


def shipped(name: str) -> dict[str, Traversable]:
    """What ships of a model: ``settings``, ``calibration``, ``card``, and any ``labels`` and adapter files."""
    here = files(__package__)
    endings = {"settings": "json", "calibration": "safetensors", "card": "md"}
    parts = {part: here.joinpath(f"{name}.{ending}") for part, ending in endings.items()}
    adapter, labels = here.joinpath(f"{name}-adapter"), here.joinpath(f"{name}-labels.parquet")
    parts |= {"labels": labels} if labels.is_file() else {}
    return parts | ({each: adapter.joinpath(each) for each in ADAPTER_FILES} if adapter.is_dir() else {})


def settings(name: str) -> SplareConfig:
    """A built-in model's configuration as it ships, without the hashes that conversion adds."""
    return SplareConfig.from_dict(json.loads(shipped(name)["settings"].read_text(encoding="utf-8")))


def folder_name(name: str) -> str:
    """Name of the converted folder: it changes with everything that the conversion is made from."""
    digest = hashlib.sha256(str(CONVERSION).encode())
    for part in shipped(name).values():
        digest.update(part.read_bytes())
    return f"{name}-{settings(name).revision}-{digest.hexdigest()[:8]}"
