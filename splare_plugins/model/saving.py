"""From a model in memory to its folder, and from there to a hub."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Unpack

from splare_plugins.backbone import Backbone
from splare_plugins.backbone.source import Source
from splare_plugins.backbone.verify import weights_of
from splare_plugins.config import CONFIG_FILE, SplareConfig
from splare_plugins.errors import InputError
from splare_plugins.heads import Head
from splare_plugins.machine.files import file_sha256
from splare_plugins.machine.hub import hub_errors
from splare_plugins.model.card import CardOptions, write_card
from splare_plugins.model.splade import recognise_splade, save_splade


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

    The config comes last, so that an interrupted save leaves no folder that looks like a model.

    Args:
        config: the model's present one.
        backbone: written where the model was not loaded from a folder.
        head: the same.
        folder: to write to.
        loaded_from: the folder that is copied instead, with its files as they are.
        repo_id: hub id that the folder is going to.
        **card: see :class:`splare_plugins.model.card.CardOptions`.

    Returns:
        the config with the hashes of what was written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    splade = None if loaded_from is None else recognise_splade(loaded_from)
    if splade is not None:
        config = save_splade(splade, folder, config)
    elif loaded_from is not None:
        if loaded_from.resolve() != folder.resolve():
            ignored = shutil.ignore_patterns(CONFIG_FILE, ".git", ".cache")
            shutil.copytree(loaded_from, folder, ignore=ignored, dirs_exist_ok=True)
    else:
        # Not where the config says: that may be another model's backbone on this machine. An adapter is merged by now.
        config = dataclasses.replace(config, backbone="backbone", backbone_revision=None, head="head")
        config = dataclasses.replace(config, adapter=None, adapter_sha256=None)
        (folder / config.head).mkdir(exist_ok=True)
        head_sha256 = head.save(folder / config.head)
        backbone.save(folder / config.backbone)
        backbone_sha256 = file_sha256(*weights_of(Source(str(folder / config.backbone), {})))
        config = dataclasses.replace(config, head_sha256=head_sha256, backbone_sha256=backbone_sha256)
    write_card(folder, config, repo_id=repo_id, **card)
    config.save(folder)
    return config


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
        folder = Path(scratch)
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
