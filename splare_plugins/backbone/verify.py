"""Whether the weights of a backbone are those that its model names."""

from __future__ import annotations

from pathlib import Path

from splare_plugins.backbone.source import Source, find_backbone
from splare_plugins.config import SplareConfig
from splare_plugins.errors import InputError
from splare_plugins.machine.files import file_sha256


def weights_of(source: Source) -> list[Path]:
    """The weight files of a backbone on disk, in the order in which they are hashed.

    Raises:
        InputError: if there are none that are read.
    """
    folder = Path(source.name)
    files = [folder / source.options["gguf_file"]] if source.gguf else sorted(folder.glob("*.safetensors"))
    if not files:
        raise InputError(f"{folder} holds no backbone: it has no safetensors weights, and pickled ones are not read")
    return files


def require_backbone(config: SplareConfig, folder: Path) -> None:
    """Refuse a backbone on disk whose weights do not have the hash that the config names.

    A hub backbone is told by its commit, and the hub's client checks what it fetches.

    Raises:
        InputError: if the weights are missing or others.
    """
    source = find_backbone(config, folder, local_files_only=True)
    if config.backbone_sha256 is None or not Path(source.name).is_dir():
        return
    if file_sha256(*weights_of(source)) != config.backbone_sha256:
        raise InputError(
            f"the backbone {source.name} does not have the hash that {config.name} names; fetch the model again, or "
            "load it with verify=False if the change is meant"
        )
