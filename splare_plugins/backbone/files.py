"""The files of a backbone on disk, taken into the folder of a model that is to be used elsewhere."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

from splare_plugins.backbone.source import FOLDER, NAMED, Source, find_backbone, weights_of
from splare_plugins.config import CONFIG_FILE, SplareConfig
from splare_plugins.machine.folders import link_or_copy

# What a transformers folder has beside its weights; its card and its licence go with them.
_BESIDE = ("*.json", "*.txt", "*.model", "*.jinja", "*.md", "LICENSE*", "LICENCE*", "NOTICE*")


def take_backbone(config: SplareConfig, folder: Path, made: Path, *, copy: bool = True) -> SplareConfig:
    """Make a model that is written to another folder independent of where its backbone lies on this machine.

    A hub id or a built-in model's name stays, and so does a backbone that lies in ``made`` already. Weights are hard
    links where the disk is the same, which take no room; what people edit is a copy.

    Args:
        config: the model's.
        folder: where it lies, or was read from.
        made: the folder that is being written.
        copy: whether the files of a backbone outside ``made`` are taken along; otherwise its place is named.

    Returns:
        the config with the place of the backbone as seen from ``made``.

    Raises:
        InputError: if the backbone is a folder that is not there, or has no weights that are read.
    """
    if config.backbone in NAMED or inside(config, made):
        return config
    source = find_backbone(config, folder, local_files_only=True)
    place = Path(source.name)
    if not place.is_dir():
        return config
    if not copy:
        return dataclasses.replace(config, backbone=str((place / source.options.get("gguf_file", "")).resolve()))
    _take(source, made / FOLDER)
    name = f"{FOLDER}/{source.options['gguf_file']}" if source.gguf else FOLDER
    return dataclasses.replace(config, backbone=name)


def inside(config: SplareConfig, folder: Path) -> bool:
    """Whether the backbone lies in the model's folder, and is not named by a place that only this machine has."""
    place = folder / config.backbone
    return not Path(config.backbone).is_absolute() and place.exists() and _within(place, folder)


def backbone_bytes(config: SplareConfig, folder: Path) -> int | None:
    """Size of the backbone's own folder inside a model's; ``None`` where there is none."""
    place = folder / config.backbone
    if not inside(config, folder) or place.resolve() == folder.resolve():
        return None
    files = [place] if place.is_file() else [path for path in place.rglob("*") if path.is_file()]
    return sum(path.stat().st_size for path in files)


def _within(place: Path, folder: Path) -> bool:
    return place.resolve().is_relative_to(folder.resolve())


def _take(source: Source, target: Path) -> None:
    place = Path(source.name)
    weights = weights_of(source)
    shutil.rmtree(target, ignore_errors=True)  # of an earlier save: other shards would count as this one's
    target.mkdir()
    for file in weights:
        link_or_copy(file.resolve(), target / file.name)  # files in the hub's cache are links themselves
    for file in {file for pattern in _BESIDE for file in place.glob(pattern)}:
        if file.is_file() and file.name != CONFIG_FILE:
            shutil.copy2(file, target / file.name)
