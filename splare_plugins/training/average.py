"""One model out of several runs from the same base, and an adapter put into the weights it belongs to."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from splare_plugins.backbone.adapter import SETTINGS, WEIGHTS
from splare_plugins.backbone.files import take_backbone
from splare_plugins.config import CONFIG_FILE, SplareConfig
from splare_plugins.errors import InputError
from splare_plugins.heads import Head, load_head
from splare_plugins.machine.files import file_sha256, read_json, require_free
from splare_plugins.model.describe import describe_model
from splare_plugins.model.splare import SplareModel
from splare_plugins.training.result import publish, uncalibrated, with_adapter, with_backbone

Method = Literal["cat", "svd"]
_A, _B = ".lora_A.weight", ".lora_B.weight"
_PREFIX = "base_model.model."
_ROWS = 4096
_PARALLEL = 0.999  # cosine of rows that may have been rounded to bfloat16 with another gain
# What makes the change of a weight something else than scale * B A.
_OTHER_FORMS = ("use_dora", "rank_pattern", "alpha_pattern", "bias", "modules_to_save", "lora_bias")


def average_models(
    folders: Sequence[Path],
    output: Path,
    *,
    method: Method = "cat",
    rank: int | None = None,
    name: str | None = None,
    copy_backbone: bool = True,
    overwrite: bool = False,
) -> SplareConfig:
    """The mean of what several runs change in the same base: in its backbone, and in the biases and gains of its head.

    The factors of independently trained adapters have nothing in common, so averaging them one by one gives another
    change altogether; here they are put side by side, which is exact, or that is cut to a rank again.

    Args:
        folders: trained models with adapters, two at least.
        output: model folder to make.
        method: ``"cat"`` adds the ranks up; ``"svd"`` keeps the largest singular values.
        rank: of the result, for ``"svd"``; by default the largest of the adapters.
        name: of the result.
        copy_backbone: take the files of a backbone on disk along, as hard links where that is possible.
        overwrite: replace a model at ``output``.

    Raises:
        InputError: if the models have no adapters, not the same base and settings, or heads that differ in more than
            biases and gains.
    """
    if len(folders) < 2:
        raise InputError("averaging needs two models at least")
    if rank is not None and (method != "svd" or rank < 1):
        raise InputError("a rank of at least 1 goes with the method svd; cat adds up the ranks of all")
    require_free(output, overwrite=overwrite, marker=CONFIG_FILE, what="model")
    configs = [SplareConfig.load(folder) for folder in folders]
    _require_same_base(folders, configs)
    adapters = [_read_adapter(folder, config) for folder, config in zip(folders, configs, strict=True)]
    modules = sorted({module for each in adapters for module in each.factors})
    joined = {
        module: _side_by_side([each.factors[module] for each in adapters if module in each.factors], len(adapters))
        for module in modules
    }
    if method == "svd":
        limit = rank or max(int(each.settings["r"]) for each in adapters)
        joined = {module: _cut(*factors, limit) for module, factors in joined.items()}
    ranks = {module.removeprefix(_PREFIX): len(a) for module, (a, _) in joined.items()}
    most = max(ranks.values())
    others = {module: rank for module, rank in ranks.items() if rank != most}
    merged = {
        **adapters[0].settings,
        "r": most,
        "lora_alpha": most,  # the scale is in the factors
        "use_rslora": False,
        "rank_pattern": others,
        "alpha_pattern": others,
        "target_modules": sorted(ranks),  # whole names: adapters may have had modules of different layers
        "layers_to_transform": None,
    }

    def write(made: Path) -> SplareConfig:
        base = take_backbone(uncalibrated(configs[0]), folders[0], made, copy=copy_backbone)
        base = dataclasses.replace(base, head_sha256=_write_head(folders, configs, made / base.head))
        adapter = made / "adapter"
        adapter.mkdir()
        tensors = {
            f"{module}{end}": factor.contiguous()
            for module, pair in joined.items()
            for end, factor in zip((_A, _B), pair, strict=True)
        }
        save_file(tensors, adapter / WEIGHTS)
        (adapter / SETTINGS).write_text(json.dumps(merged, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        return with_adapter(base, file_sha256(adapter / WEIGHTS), name=name or f"{base.name}-average")

    return publish(output, write)


def merge_model(
    source: str | Path, output: Path, *, dtype: str = "float32", name: str | None = None, overwrite: bool = False
) -> SplareConfig:
    """A model whose backbone has the adapter in its weights; it gives the same vectors, so its scales stay.

    Args:
        source: folder, hub id or built-in name of a model with an adapter.
        output: model folder to make.
        dtype: of the weights written; less than float32 rounds the sum.
        name: of the result; the same if left out.
        overwrite: replace a model at ``output``.

    Raises:
        InputError: if the model has no adapter.
    """
    require_free(output, overwrite=overwrite, marker=CONFIG_FILE, what="model")
    config, _, folder = describe_model(source)
    if config.adapter is None:
        raise InputError(f"{source} has no adapter to merge")
    model = SplareModel.load(folder, device="cpu", dtype=dtype)

    def write(made: Path) -> SplareConfig:
        shutil.copytree(folder / config.head, made / config.head)
        return with_backbone(config, model.backbone.save(made / "backbone"), name=name or config.name)

    return publish(output, write)


def _require_same_base(folders: Sequence[Path], configs: Sequence[SplareConfig]) -> None:
    def base(config: SplareConfig) -> dict[str, Any]:
        values = dataclasses.asdict(uncalibrated(config))
        places = ["backbone"] if config.backbone_sha256 else []
        for key in ("name", "revision", "head_sha256", "adapter", "adapter_sha256", *places):
            del values[key]
        return values

    for folder, config in zip(folders, configs, strict=True):
        if config.adapter is None:
            raise InputError(f"{folder} has no adapter; runs are averaged before their adapters are merged")
        theirs = base(config)
        if differing := [key for key, value in base(configs[0]).items() if theirs[key] != value]:
            raise InputError(
                f"{folders[0]} and {folder} differ in {differing[0]}; only runs from one base can be averaged"
            )


class _Adapter(NamedTuple):
    settings: dict[str, Any]
    factors: dict[str, tuple[Tensor, Tensor]]
    """Both of each module in float64, the scale in the second."""


def _read_adapter(folder: Path, config: SplareConfig) -> _Adapter:
    place = folder / str(config.adapter)
    settings = read_json(place / SETTINGS)
    if other := [key for key in _OTHER_FORMS if settings.get(key) not in (None, False, {}, [], "none")]:
        raise InputError(
            f"the adapter {place} uses {other[0]}, which is not averaged; merge it into the weights instead"
        )
    try:
        tensors = load_file(place / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise InputError(f"cannot read {place / WEIGHTS}: {error}") from error
    if config.adapter_sha256 is not None and file_sha256(place / WEIGHTS) != config.adapter_sha256:
        raise InputError(f"{place / WEIGHTS} does not have the hash that its model names; fetch the model again")
    rank = int(settings["r"])
    scale = float(settings["lora_alpha"]) / (rank**0.5 if settings.get("use_rslora") else rank)
    modules = [key.removesuffix(_A) for key in tensors if key.endswith(_A)]
    factors = {each: (tensors[each + _A].double(), tensors[each + _B].double() * scale) for each in modules}
    return _Adapter(settings, factors)


def _side_by_side(factors: Sequence[tuple[Tensor, Tensor]], count: int) -> tuple[Tensor, Tensor]:
    """Factors of the mean of ``count`` changes, those that are missing here being 0."""
    return torch.cat([a for a, _ in factors]).float(), torch.cat([b / count for _, b in factors], dim=1).float()


def _cut(a: Tensor, b: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The best factors of a rank, without ever making their product."""
    left, inner_left = torch.linalg.qr(b.double())
    right, inner_right = torch.linalg.qr(a.double().T)
    u, s, v = torch.linalg.svd(inner_left @ inner_right.T)
    root = s[:rank].sqrt()
    return (root[:, None] * (right @ v[:rank].T).T).float(), (left @ u[:, :rank] * root).float()


def _write_head(folders: Sequence[Path], configs: Sequence[SplareConfig], place: Path) -> str | None:
    """The head that all share, or the mean of those whose biases and gains were trained; returns its hash."""
    first, config = folders[0], configs[0]
    if len({each.head_sha256 for each in configs}) == 1:
        shutil.copytree(first / config.head, place)
        return config.head_sha256
    head = load_head(config.head_kind, first / config.head, sha256=config.head_sha256)
    sums = {name: tensor.float() for name, tensor in _calibration(head).items()}
    for folder, theirs in zip(folders[1:], configs[1:], strict=True):
        other = load_head(theirs.head_kind, folder / theirs.head, sha256=theirs.head_sha256)
        if not _same_directions(head, other):
            raise InputError(
                f"the heads of {first} and {folder} differ in more than biases and gains, and only these are averaged"
            )
        for name, tensor in _calibration(other).items():
            sums[name] = sums[name] + tensor.float()
    for name, tensor in _calibration(head).items():
        tensor.copy_(sums[name] / len(folders))
    place.mkdir()
    return head.save(place)


def _calibration(head: Head) -> dict[str, Tensor]:
    """The tensors of a head that training a bias or a gain of each latent changes."""
    return {name: tensor for name, tensor in head.state_dict().items() if name in ("W", "b")}


def _same_directions(head: Head, other: Head) -> bool:
    """Whether the rows of two heads are multiples of one another, and all else but the biases is the same."""
    mine, theirs = head.state_dict(), other.state_dict()
    if {name: tensor.shape for name, tensor in mine.items()} != {name: each.shape for name, each in theirs.items()}:
        return False
    if any(not torch.equal(mine[name], theirs[name]) for name in mine.keys() - _calibration(head).keys()):
        return False
    pairs = zip(mine["W"].split(_ROWS), theirs["W"].split(_ROWS), strict=True)
    return all(
        bool(((a * b).sum(1) >= _PARALLEL * a.norm(dim=1) * b.norm(dim=1)).all())
        for a, b in ((a.float(), b.float()) for a, b in pairs)
    )
