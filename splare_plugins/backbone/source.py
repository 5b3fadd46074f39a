"""Where a backbone lies (a folder, a hub id, or a GGUF file in either), and whether it is the one that is meant."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from splare_plugins.config import CONFIG_FILE, SplareConfig
from splare_plugins.errors import InputError
from splare_plugins.machine.files import file_sha256

GGUF = ".gguf"
FOLDER = "backbone"
"""Where a model's folder has a backbone of its own."""
NAMED: dict[str, Callable[[], Path]] = {}
"""Finders of the backbones that have a name of their own, which the room of the built-in models fills in."""


class Source(NamedTuple):
    """What transformers needs to find a backbone."""

    name: str
    """A folder or a hub id."""
    options: dict[str, Any]
    """Further arguments of every ``from_pretrained``."""

    @property
    def gguf(self) -> bool:
        """Whether the weights are in a GGUF file."""
        return "gguf_file" in self.options


def find_backbone(config: SplareConfig, folder: Path, *, local_files_only: bool) -> Source:
    """The source of the backbone that ``config`` names.

    A name that ends in ``.gguf`` is such a file, on disk or in a hub repository (``org/name/file.gguf``); so is a
    folder with one GGUF file and no ``config.json``. The name of a built-in model stands for its backbone.

    Raises:
        InputError: if a folder holds several GGUF files and nothing tells which is meant, or it names a folder that
            is not there.
    """
    if (named := NAMED.get(config.backbone)) is not None:
        return _in_folder(named())
    for place in (folder / config.backbone, Path(config.backbone)):
        if place.is_dir():
            return _in_folder(place)
        if place.suffix == GGUF and place.is_file():
            return Source(str(place.parent), {"gguf_file": place.name})
    hub = {"revision": config.backbone_revision, "local_files_only": local_files_only}
    parts = config.backbone.split("/", 2)
    if len(parts) == 3 and config.backbone.endswith(GGUF):
        return Source("/".join(parts[:2]), {"gguf_file": parts[2], **hub})
    if parts[0] == FOLDER and folder != Path():
        raise InputError(f"the model in {folder} lacks its backbone, {folder / config.backbone}; copy all of it again")
    if Path(config.backbone).is_absolute() or len(parts) == 3 or parts[0] in (".", ".."):
        if folder == Path():
            raise InputError(
                f"cannot load the backbone {config.backbone}: there is no such folder; give a folder or a hub id like "
                "org/name"
            )
        raise InputError(
            f"the model in {folder} stands on the backbone in {config.backbone}, a folder that is not here; copy it "
            f'to {folder / Path(config.backbone).name} and write that name as "backbone" into '
            f"{folder / CONFIG_FILE}"
        )
    return Source(config.backbone, hub)


def _in_folder(place: Path) -> Source:
    files = sorted(place.glob(f"*{GGUF}"))
    if not files or (place / "config.json").is_file():
        return Source(str(place), {})
    if len(files) > 1:
        raise InputError(f"{place} holds {len(files)} GGUF files; name one of them as the backbone, like {files[0]}")
    return Source(str(place), {"gguf_file": files[0].name})


def weights_of(source: Source) -> list[Path]:
    """The weight files of a backbone on disk, in the order in which they are hashed.

    Raises:
        InputError: if there are none that are read.
    """
    folder = Path(source.name)
    files = [folder / source.options["gguf_file"]] if source.gguf else sorted(folder.glob("*.safetensors"))
    if not files:
        raise InputError(
            f"{folder} holds no safetensors weights, and pickled ones are not read; convert them, or name a revision "
            "of the hub model that has safetensors"
        )
    return files


def require_backbone(config: SplareConfig, folder: Path) -> None:
    """Refuse a backbone on disk whose weights do not have the hash that the config names.

    A hub backbone is identified by its commit, and the hub's client checks what it fetches.

    Raises:
        InputError: if the weights are missing or different.
    """
    source = find_backbone(config, folder, local_files_only=True)
    if config.backbone_sha256 is None or not Path(source.name).is_dir():
        return
    if file_sha256(*weights_of(source)) != config.backbone_sha256:
        raise InputError(
            f"the backbone {source.name} does not have the hash that {config.name} names; fetch the model again, or "
            "load it with verify=False if the change is meant"
        )
