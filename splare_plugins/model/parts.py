"""The parts of a model: from its name into memory, from there to a folder, and from that to a hub."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, TypedDict, Unpack

import torch

from splare_plugins.backbone import Backbone, load_backbone
from splare_plugins.backbone.placement import DeviceMap, choose_device, choose_precision
from splare_plugins.backbone.source import Source, require_backbone, weights_of
from splare_plugins.config import CONFIG_FILE, SideConfig, SplareConfig
from splare_plugins.errors import InputError
from splare_plugins.heads import Head, load_head
from splare_plugins.machine.files import file_sha256
from splare_plugins.machine.folders import keep_others, updating_folder
from splare_plugins.machine.hub import hub_errors
from splare_plugins.model.card import CardOptions, write_card
from splare_plugins.model.find import locate_model
from splare_plugins.model.splade import convert_named, recognise_splade, save_splade


class LoadOptions(TypedDict, total=False):
    """How a model is loaded; what each option means is said at ``SplareModel.from_pretrained``."""

    revision: str | None
    device: str
    dtype: str | torch.dtype
    attention: str
    quantization: str | None
    device_map: DeviceMap | None
    query: dict[str, Any] | None
    document: dict[str, Any] | None
    local_files_only: bool
    verify: bool


class Parts(NamedTuple):
    """What a model is made of."""

    config: SplareConfig
    backbone: Backbone
    head: Head
    folder: Path
    """The model folder that they came from."""


def load_parts(name_or_path: str | Path, **options: Unpack[LoadOptions]) -> Parts:
    """Load the parts of a SPLARE model, or take those of a SPLADE model apart; see ``SplareModel.from_pretrained``."""
    local_files_only, device_map = options.get("local_files_only", False), options.get("device_map")
    folder = locate_model(str(name_or_path), revision=options.get("revision"), local_files_only=local_files_only)
    splade = recognise_splade(folder)
    where = choose_device(options.get("device", "auto"), device_map)
    precision = choose_precision(options.get("dtype", "auto"), where)
    head: Head
    if splade is None:
        config, source = SplareConfig.load(folder), folder
        if options.get("verify", True):
            require_backbone(config, folder)
        head = load_head(config.head_kind, folder / config.head, sha256=config.head_sha256)
    else:
        (config, head), source = convert_named(splade, name_or_path, folder), splade.transformer
    config = dataclasses.replace(
        config,
        query=_side(config.query, options.get("query"), "query"),
        document=_side(config.document, options.get("document"), "document"),
    )
    if (quantization := options.get("quantization", "model")) != "model":
        config = dataclasses.replace(config, quantization=quantization)
    backbone = load_backbone(
        config,
        source,
        device=where,
        dtype=precision,
        attention=options.get("attention", "auto"),
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


def save_parts(
    config: SplareConfig,
    backbone: Backbone,
    head: Head,
    folder: Path,
    *,
    loaded_from: Path | None,
    repo_id: str | None = None,
    **card: Unpack[CardOptions],
) -> SplareConfig:
    """Write a model folder with its card; see ``SplareModel.save_pretrained``.

    The folder appears whole; where it is written in place, the config comes last, so that an interrupted save leaves
    no folder that looks like a model.

    Args:
        config: the model's present one.
        backbone: written where the model was not loaded from a folder.
        head: likewise.
        folder: to write to.
        loaded_from: the folder that is copied instead, with its files as they are.
        repo_id: hub id that the folder is going to.
        **card: see :class:`splare_plugins.model.card.CardOptions`.

    Returns:
        the config with the hashes of what was written.
    """
    with updating_folder(folder, source=loaded_from) as made:
        config = _write_parts(config, backbone, head, made, loaded_from)
        keep_others(made, folder)
        write_card(made, config, repo_id=repo_id or folder.name, **card)
        config.save(made)
    return config


def _write_parts(
    config: SplareConfig, backbone: Backbone, head: Head, made: Path, loaded_from: Path | None
) -> SplareConfig:
    if loaded_from is None:
        # Not where the config says: that may be another model's backbone on this machine. An adapter is merged by now.
        config = dataclasses.replace(
            config, backbone="backbone", backbone_revision=None, head="head", adapter=None, adapter_sha256=None
        )
        (made / config.head).mkdir(exist_ok=True)
        head_sha256 = head.save(made / config.head)
        backbone.save(made / config.backbone)
        backbone_sha256 = file_sha256(*weights_of(Source(str(made / config.backbone), {})))
        return dataclasses.replace(config, head_sha256=head_sha256, backbone_sha256=backbone_sha256)
    if (splade := recognise_splade(loaded_from)) is not None:
        return save_splade(splade, made, config)
    if made.resolve() != loaded_from.resolve():
        copy_model(loaded_from, made)
    return config


def copy_model(folder: Path, made: Path) -> None:
    """Copy a model's files into another folder; its config is left to be written."""
    ignored = shutil.ignore_patterns(CONFIG_FILE, ".git", ".cache")
    shutil.copytree(folder, made, ignore=ignored, dirs_exist_ok=True)


def upload(
    config: SplareConfig,
    backbone: Backbone,
    head: Head,
    repo_id: str,
    *,
    loaded_from: Path | None,
    private: bool,
    token: str | None,
    **card: Unpack[CardOptions],
) -> str:
    """Write a model into a scratch folder and upload it; see ``SplareModel.push_to_hub``.

    Raises:
        InputError: if the backbone is a folder of this machine, or the hub refuses.
    """
    from huggingface_hub import HfApi

    with TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        saved = save_parts(config, backbone, head, folder, loaded_from=loaded_from, repo_id=repo_id, **card)
        inside = (folder / saved.backbone).exists() and not Path(saved.backbone).is_absolute()
        if not inside and Path(saved.backbone).exists():
            raise InputError(
                f"the backbone of {config.name} is {saved.backbone} on this machine, which would not travel; assemble "
                "the model with --copy-backbone, or from a hub id"
            )
        with hub_errors(repo_id, action="upload to", otherwise="check the network and run it again"):
            api = HfApi(token=token)
            api.create_repo(repo_id, private=private, exist_ok=True)
            return str(api.upload_folder(repo_id=repo_id, folder_path=folder))
