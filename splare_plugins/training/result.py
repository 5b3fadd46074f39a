"""The folder of a trained model."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

from splare_plugins.backbone.adapter import save_adapter
from splare_plugins.backbone.files import take_backbone
from splare_plugins.config import SplareConfig
from splare_plugins.machine.folders import replacing_folder
from splare_plugins.model.builtin import BUILTIN_MODELS
from splare_plugins.model.card import write_card
from splare_plugins.model.splade import recognise_splade
from splare_plugins.training.config import TrainingConfig
from splare_plugins.training.student import Base, Student, read_base, restore_rows


def publish(folder: Path, write: Callable[[Path], SplareConfig]) -> SplareConfig:
    """Make a model folder whole or not at all, with its card; ``write`` puts the parts into a folder.

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


def with_adapter(config: SplareConfig, sha256: str, *, name: str) -> SplareConfig:
    """The config of a model whose adapter lies in ``adapter`` and says which weights it has."""
    return dataclasses.replace(config, name=name, revision=sha256[:12], adapter="adapter", adapter_sha256=sha256)


def with_backbone(config: SplareConfig, sha256: str, *, name: str) -> SplareConfig:
    """The config of a model without adapter whose own backbone lies in ``backbone`` and says which weights it has."""
    return dataclasses.replace(
        config,
        name=name,
        revision=sha256[:12],
        backbone="backbone",
        backbone_sha256=sha256,
        backbone_revision=None,
        adapter=None,
        adapter_sha256=None,
    )


def write_base(base: Base, made: Path, *, model: str, copy_backbone: bool) -> SplareConfig:
    """Write the head of a base, and its backbone's name, files or place.

    Args:
        base: what was trained.
        made: the folder that is being written.
        model: the base by the name that it was loaded by; a built-in model's name, or the hub id of a SPLADE model,
            names the backbone too.
        copy_backbone: take the files of any other backbone on disk along; otherwise its place is named.

    Returns:
        its config with the place of both, without scales.
    """
    folder, config, head = base
    splade = recognise_splade(folder)
    config = dataclasses.replace(uncalibrated(config), head="head")
    if splade is None and not any(weight.requires_grad for weight in head.parameters()):
        shutil.copytree(folder / SplareConfig.load(folder).head, made / "head")
    else:
        (made / "head").mkdir()
        config = dataclasses.replace(config, head_sha256=head.save(made / "head"))
    if model in BUILTIN_MODELS:
        return dataclasses.replace(config, backbone=model)
    if splade is not None and splade.transformer == folder and not Path(model).exists():  # a snapshot of a hub
        return dataclasses.replace(config, backbone=model, backbone_revision=folder.name)
    if splade is not None:
        config = dataclasses.replace(config, backbone=str(splade.transformer.resolve()))
    return take_backbone(config, folder, made, copy=copy_backbone)


def write_trained(student: Student, config: TrainingConfig, made: Path) -> SplareConfig:
    """Write what ``SplareModel.from_pretrained`` loads, but for its config: head, and adapter or backbone.

    The quantiser's scales are dropped: they belonged to the base's weights.
    """
    model = student.base
    if config.head in ("bias", "calibration"):
        restore_rows(model.head, read_base(str(student.folder)).head.W)
    base = Base(student.folder, model.config, model.head)
    copy = config.copy_backbone and config.lora is not None
    saved = write_base(base, made, model=config.model, copy_backbone=copy)
    name = config.name or f"{model.config.name}-trained"
    if config.lora is not None:
        return with_adapter(saved, save_adapter(model.backbone, made / "adapter", model.config.name), name=name)
    return with_backbone(saved, model.backbone.save(made / "backbone"), name=name)
