"""What a saved encoder remembers: its config, and the model that the parts it does not hold come from."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch

from splare_plugins.backbone import Backbone, load_backbone, require_bidirectional
from splare_plugins.backbone.adapter import attach_adapter
from splare_plugins.backbone.source import require_backbone
from splare_plugins.config import SplareConfig
from splare_plugins.errors import IdentityError, InputError
from splare_plugins.heads import Head, load_head
from splare_plugins.machine.files import read_json, write_json
from splare_plugins.model.find import ORIGIN_FILE, locate_model
from splare_plugins.model.splade import recognise_splade
from splare_plugins.model.splare import SplareModel

FORMAT_VERSION = 1
_MOVED = "if the base lies elsewhere now, name that place: SplareEncoder(folder, base=...)"


class Placement(NamedTuple):
    """How parts are loaded."""

    device: str = "cpu"
    dtype: torch.dtype = torch.float32
    local_files_only: bool = False


CPU = Placement()


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where the parts of an encoder come from.

    Attributes:
        config: the config of the encoder: the base model's, with the encoder's own prompts, lengths and top-k, and the
            hashes of the parts that it holds itself.
        base: name, folder or hub id of the model that was loaded; ``None`` for a model built in memory.
        revision: commit of a hub base.
        base_sha256: hashes of the base's ``"backbone"``, ``"head"`` and ``"adapter"``, where its config has them.
        own: the parts that lie in the encoder's own folder, of ``"backbone"`` and ``"adapter"``.
        dtype: of the backbone when it was saved.
    """

    config: SplareConfig
    base: str | None = None
    revision: str | None = None
    base_sha256: dict[str, str | None] = field(default_factory=dict)
    own: tuple[str, ...] = ()
    dtype: str = "float32"

    def save(self, folder: Path) -> None:
        """Write ``splare_encoder.json`` into ``folder``."""
        values = {"format": FORMAT_VERSION, **dataclasses.asdict(self), "config": self.config.to_dict()}
        write_json(folder / ORIGIN_FILE, values)

    @classmethod
    def load(cls, folder: Path) -> Origin:
        """Read what :meth:`save` wrote.

        Raises:
            InputError: if the file is missing, damaged or of another format.
        """
        path = folder / ORIGIN_FILE
        if not path.is_file():
            raise InputError(f"{folder} was not saved by SplareEncoder: it has no {ORIGIN_FILE}")
        values = read_json(path)
        try:
            if (version := values.pop("format")) != FORMAT_VERSION:
                raise InputError(f"{path} has format {version!r}; this version of splare-plugins reads format 1")
            config, own = SplareConfig.from_dict(values.pop("config")), tuple(values.pop("own"))
            return cls(config=config, own=own, **values)
        except (KeyError, TypeError) as error:
            raise InputError(f"{path} is damaged ({error}); fetch or save the encoder again") from error

    def at(self, base: str | None) -> Origin:
        """The same with another place of the base, if one is given."""
        return self if base is None else dataclasses.replace(self, base=base, revision=None)

    def backbone(self, folder: Path, where: Placement) -> Backbone:
        """The backbone, with the encoder's adapter attached but not merged."""
        if "backbone" in self.own:
            config = dataclasses.replace(self.config, adapter=None, adapter_sha256=None)
            require_backbone(config, folder)
            backbone = load_backbone(config, folder, device=torch.device(where.device), dtype=where.dtype)
        else:
            base, _ = self._find(where, "backbone", "adapter")
            model = self._load(base, where)
            backbone = model.backbone
            if self.config.bidirectional and not model.config.bidirectional:  # made so by its training
                backbone.model.config.is_causal = False
                require_bidirectional(backbone)
        if "adapter" in self.own:
            attach_adapter(backbone, folder / str(self.config.adapter), self.config.adapter_sha256)
        return backbone

    def base_head(self, where: Placement) -> Head:
        """The head of the base, read without its backbone where it lies apart."""
        base, config = self._find(where, "head")
        if config is None:
            return self._load(base, where).head
        return load_head(config.head_kind, base / config.head, sha256=config.head_sha256)

    def _find(self, where: Placement, *parts: str) -> tuple[Path, SplareConfig | None]:
        """Folder of the base and its config; no config for a SPLADE model, which has to be taken apart first."""
        if self.base is None:
            raise InputError(f"{self.config.name} was saved without all its parts; save it again with embed=True")
        try:
            folder = locate_model(self.base, revision=self.revision, local_files_only=where.local_files_only)
            if recognise_splade(folder) is not None:
                return folder, None
            config = SplareConfig.load(folder)
        except InputError as error:
            raise InputError(f"the base {self.base!r} of this encoder cannot be loaded: {error}; {_MOVED}") from error
        self._require_same(config, *parts)
        return folder, config

    def _load(self, folder: Path, where: Placement) -> SplareModel:
        model = SplareModel.load(folder, device=where.device, dtype=where.dtype)
        self._require_same(model.config, "backbone", "head", "adapter")
        return model

    def _require_same(self, config: SplareConfig, *parts: str) -> None:
        found = part_hashes(config)
        for part in parts:
            wanted = self.base_sha256.get(part)
            if wanted != found[part]:
                raise IdentityError(
                    f"this encoder was made with the {part} {str(wanted)[:12]} of {self.base!r}, but the one there is "
                    f"{str(found[part])[:12]}; fetch that model again, or {_MOVED}"
                )


def part_hashes(config: SplareConfig) -> dict[str, str | None]:
    """The hashes that a config has of its parts."""
    return {part: getattr(config, f"{part}_sha256") for part in ("backbone", "head", "adapter")}
