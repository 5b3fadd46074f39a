"""The folder of a trained model."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

from splare_plugins.backbone.adapter import save_adapter
from splare_plugins.backbone.source import find_backbone
from splare_plugins.config import CONFIG_FILE, SplareConfig
from splare_plugins.heads import Head
from splare_plugins.machine.folders import replacing_folder
from splare_plugins.model.card import write_card
from splare_plugins.model.splade import recognise_splade
from splare_plugins.training.config import TrainingConfig
from splare_plugins.training.student import Student, read_base, restore_rows


def save_result(student: Student, config: TrainingConfig, folder: Path) -> SplareConfig:
    """Write what ``SplareModel.from_pretrained`` loads: config, head, and adapter or backbone.

    The backbone stays where it lies unless it was trained or ``copy_backbone`` is set. The quantiser's scales are
    dropped: they belonged to the base's weights.

    Args:
        student: after training.
        config: of the run.
        folder: replaced whole.

    Returns:
        The config of the model.
    """
    return publish(folder, lambda made: _write(student, config, made))


def publish(folder: Path, write: Callable[[Path], SplareConfig]) -> SplareConfig:
    """Make a model folder whole or not at all, with its card.

    Args:
        folder: replaced if it exists.
        write: writes the parts into a folder and returns the config.

    Raises:
        InputError: if the place cannot be written to.
    """
    with replacing_folder(folder) as made:
        config = write(made)
        write_card(made, config, repo_id=folder.name)
        config.save(made)
    return config


def uncalibrated(config: SplareConfig) -> SplareConfig:
    """Without the quantiser's scales, which belong to the weights that they were found with."""
    query, document = (dataclasses.replace(side, scale=None) for side in (config.query, config.document))
    return dataclasses.replace(config, query=query, document=document)


def write_base(config: SplareConfig, head: Head, folder: Path, made: Path, *, copy_backbone: bool) -> SplareConfig:
    """Write the head of a base, and its backbone or where that lies.

    Args:
        config: of the base.
        head: of the base; its file is copied unless it was trained.
        folder: of the base: a SPLARE or a SPLADE model.
        made: to write into.
        copy_backbone: copy a backbone on disk instead of naming its place.

    Returns:
        ``config`` with the place of both, without scales.
    """
    splade = recognise_splade(folder)
    config = dataclasses.replace(uncalibrated(config), head="head")
    if splade is None and not any(weight.requires_grad for weight in head.parameters()):
        shutil.copytree(folder / SplareConfig.load(folder).head, made / "head")
    else:
        (made / "head").mkdir()
        config = dataclasses.replace(config, head_sha256=head.save(made / "head"))
    if splade is not None:
        config = dataclasses.replace(config, backbone=str(splade.transformer.resolve()))
    source = find_backbone(config, folder, local_files_only=True)
    place = Path(source.name)
    if not place.is_dir():
        return config
    if copy_backbone:
        shutil.copytree(place, made / "backbone", ignore=shutil.ignore_patterns(".git", ".cache", CONFIG_FILE))
        return dataclasses.replace(config, backbone="backbone")
    file = source.options.get("gguf_file")
    return dataclasses.replace(config, backbone=str((place / file if file else place).resolve()))


def _write(student: Student, config: TrainingConfig, made: Path) -> SplareConfig:
    if config.head in ("bias", "calibration"):
        restore_rows(student.base.head, read_base(str(student.folder)).head.W)
    base, backbone = student.base.config, student.base.backbone
    copy = config.copy_backbone and config.lora is not None
    saved = write_base(base, student.base.head, student.folder, made, copy_backbone=copy)
    saved = dataclasses.replace(saved, name=config.name or f"{base.name}-trained")
    if config.lora is not None:
        sha256 = save_adapter(backbone, made / "adapter", base.name)
        return dataclasses.replace(saved, adapter="adapter", adapter_sha256=sha256, revision=sha256[:12])
    sha256 = backbone.save(made / "backbone")
    return dataclasses.replace(
        saved,
        backbone="backbone",
        backbone_sha256=sha256,
        backbone_revision=None,
        adapter=None,
        adapter_sha256=None,
        revision=sha256[:12],
    )
