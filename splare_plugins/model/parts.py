"""The parts of a model: from its name into memory, from there to a folder, and from that to a hub."""

from __future__ import annotations

import dataclasses
import logging
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict, Unpack

from splare_plugins.backbone.files import take_backbone
from splare_plugins.backbone.source import require_backbone
from splare_plugins.config import CONFIG_FILE, FULL, INT8, STATIC, SideConfig, SplareConfig
from splare_plugins.errors import InputError
from splare_plugins.machine.folders import keep_others, updating_folder
from splare_plugins.machine.hub import hub_errors
from splare_plugins.machine.packages import require_torch
from splare_plugins.model.card import CardOptions, write_card
from splare_plugins.model.find import locate_model
from splare_plugins.model.splade import convert_named, recognise_splade, save_splade
from splare_plugins.runtime.card import CARD_FILE
from splare_plugins.static import is_static

if TYPE_CHECKING:
    import torch

    from splare_plugins.backbone import Backbone
    from splare_plugins.backbone.placement import DeviceMap
    from splare_plugins.heads import Head

logger = logging.getLogger(__name__)


class Parts(NamedTuple):
    """What a model is made of."""

    config: SplareConfig
    backbone: Backbone
    head: Head
    folder: Path | None
    """The model folder that they came from; ``None`` for those made in memory."""


class Placement(TypedDict):
    """Where and how a model's weights lie; see ``SplareModel.from_pretrained``."""

    device: str
    dtype: str | torch.dtype
    attention: str
    device_map: DeviceMap | None


class FoundParts(NamedTuple):
    """A model as its files say, before its weights are read."""

    config: SplareConfig
    folder: Path
    """The model folder."""
    source: Path
    """Where the backbone is looked for."""
    splade_head: Head | None
    """That of a SPLADE model, whose identity is a hash over it."""

    @property
    def exported(self) -> bool:
        """Whether it is a graph alone, made to run without torch."""
        return (self.folder / CARD_FILE).is_file()

    def load_head(self) -> Head:
        """The head, on the CPU."""
        self.require_weights()
        config = self.config
        if self.splade_head is not None:
            return self.splade_head
        from splare_plugins.heads import load_head
        from splare_plugins.heads.labels import LABELS, require_own_labels

        head = load_head(config.head_kind, self.folder / config.head, sha256=config.head_sha256)
        require_own_labels(getattr(head, "labels_of", None), config, self.folder / config.head / LABELS)
        return head

    def require_weights(self) -> None:
        """Refuse a graph alone.

        Raises:
            InputError: then.
        """
        if self.exported:
            raise InputError(
                f"{self.folder} was exported to run as it is, without the weights that this needs; take the model "
                "that it was exported from"
            )


def find_parts(
    name_or_path: str | Path,
    *,
    revision: str | None,
    quantization: str | None,
    query: dict[str, Any] | None,
    document: dict[str, Any] | None,
    local_files_only: bool,
) -> FoundParts:
    """Find a model, and what it is when it is loaded with these options; see ``SplareModel.from_pretrained``."""
    folder = locate_model(str(name_or_path), revision=revision, local_files_only=local_files_only)
    if is_static(folder):
        raise InputError(
            f"{folder} holds a table that encodes queries and no model; name the model, and the table with "
            "--query-encoder"
        )
    splade = recognise_splade(folder)
    head: Head | None = None
    if splade is None:
        config, source = SplareConfig.load(folder), folder
    else:
        (config, head), source = convert_named(splade, name_or_path, folder), splade.transformer
    config = dataclasses.replace(
        config,
        query=_side(config.query, query, "query"),
        document=_side(config.document, document, "document"),
        quantization=config.quantization if quantization == "model" else quantization,
    )
    return FoundParts(config, folder, source, head)


def load_parts(
    found: FoundParts,
    *,
    local_files_only: bool,
    verify: bool,
    **placement: Unpack[Placement],
) -> Parts:
    """Load the parts of a SPLARE model, or take those of a SPLADE model apart; see ``SplareModel.from_pretrained``."""
    found.require_weights()
    require_torch(found.config.name)
    from splare_plugins.backbone import load_backbone
    from splare_plugins.backbone.placement import choose_device, choose_precision

    config = found.config
    head = found.load_head()
    where = choose_device(placement["device"], placement["device_map"])
    precision = choose_precision(placement["dtype"], where)
    if verify and found.splade_head is None:
        require_backbone(config, found.folder)
    backbone = load_backbone(
        # What is quantised in int8 is a graph, made of the model as it is.
        dataclasses.replace(config, quantization=None) if config.quantization == INT8 else config,
        found.source,
        device=where,
        dtype=precision,
        attention=placement["attention"],
        device_map=placement["device_map"],
        local_files_only=local_files_only,
    )
    _require_fit(config, backbone, head)
    return Parts(config, backbone, head.place(backbone.device, precision), found.folder)


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
    require_positions(config, backbone.positions)


def require_positions(config: SplareConfig, positions: int | None) -> None:
    """Refuse lengths that a backbone has no room for.

    Raises:
        InputError: then.
    """
    longest = max(config.query.max_length, config.document.max_length)
    if positions is not None and longest > positions:
        raise InputError(
            f"{config.name} is to take {longest} tokens of a text, but its backbone has {positions} "
            "positions; set max_length of query and document to no more"
        )


def save_parts(
    parts: Parts,
    folder: Path,
    *,
    repo_id: str | None = None,
    copy_backbone: bool = True,
    **card: Unpack[CardOptions],
) -> SplareConfig:
    """Write a model folder with its card; see ``SplareModel.save_pretrained``.

    The folder appears whole; where it is written in place, the config comes last, so that an interrupted save leaves
    no folder that looks like a model.

    Args:
        parts: with the model's present config; where they came from a folder, its files are copied as they are.
        folder: to write to.
        repo_id: hub id that the folder is going to.
        copy_backbone: take the files of a backbone that lies elsewhere on this machine along.
        **card: see :class:`splare_plugins.model.card.CardOptions`.

    Returns:
        the config with the hashes of what was written; of parts that came from a folder, with the place of the
        backbone as seen from there.
    """
    with updating_folder(folder, source=parts.folder) as made:
        config = _with_own_table(_write_parts(parts, made, copy_backbone=copy_backbone), made)
        keep_others(made, folder, without=config.backbone)
        write_card(made, config, repo_id=repo_id or folder.name, **card)
        config.save(made)
    return config if parts.folder is None else dataclasses.replace(config, backbone=parts.config.backbone)


def _with_own_table(config: SplareConfig, made: Path) -> SplareConfig:
    """The config without the table that it names, if that was trained for the model before a change."""
    folder = made / STATIC
    if config.query_encoder == FULL or (
        is_static(folder) and SplareConfig.load(folder).index_fingerprint() == config.index_fingerprint()
    ):
        return config
    logger.warning(
        "%s has another fingerprint than its static query encoder, so it encodes its queries itself again; train the "
        "table anew with splare train static",
        config.name,
    )
    return dataclasses.replace(config, query_encoder=FULL)


def _write_parts(parts: Parts, made: Path, *, copy_backbone: bool) -> SplareConfig:
    config = parts.config
    if parts.folder is None:
        if parts.backbone.adapted:
            raise InputError(f"{config.name} has an adapter that is not merged into its backbone; merge it first")
        # Not where the config says: that may be another model's backbone on this machine.
        config = dataclasses.replace(
            config, backbone="backbone", backbone_revision=None, head="head", adapter=None, adapter_sha256=None
        )
        # In place of the files of an earlier save, which may be links to those of another folder.
        shutil.rmtree(made / config.backbone, ignore_errors=True)
        (made / config.head).mkdir(exist_ok=True)
        head_sha256 = parts.head.save(made / config.head)
        backbone_sha256 = parts.backbone.save(made / config.backbone)
        return dataclasses.replace(config, head_sha256=head_sha256, backbone_sha256=backbone_sha256)
    if (splade := recognise_splade(parts.folder)) is not None:
        return save_splade(splade, made, config)
    if made.resolve() == parts.folder.resolve():
        return config
    copy_model(parts.folder, made)
    return take_backbone(config, parts.folder, made, copy=copy_backbone)


def copy_model(folder: Path, made: Path) -> None:
    """Copy a model's files into another folder; its config is left to be written."""
    own = {CONFIG_FILE, ".git", ".cache"}

    def ignored(place: str, names: list[str]) -> set[str]:
        return own & set(names) if Path(place) == folder else set()

    shutil.copytree(folder, made, ignore=ignored, dirs_exist_ok=True)


def upload(parts: Parts, repo_id: str, *, private: bool, token: str | None, **card: Unpack[CardOptions]) -> str:
    """Write a model into a scratch folder and upload it; see ``SplareModel.push_to_hub``.

    Raises:
        InputError: if the hub refuses.
    """
    from huggingface_hub import HfApi

    with TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        save_parts(parts, folder, repo_id=repo_id, **card)
        with hub_errors(repo_id, action="upload to", otherwise="check the network and run it again"):
            api = HfApi(token=token)
            api.create_repo(repo_id, private=private, exist_ok=True)
            return str(api.upload_folder(repo_id=repo_id, folder_path=folder))
