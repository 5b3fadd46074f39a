"""Puts a trained small model into the package: ``python examples/small_model/ship.py RUN/model ROWS...``.

What was learned is all that ships: an adapter in half precision, and the threshold and gain of each latent, against
the wheel's own backbone and SAE. The adapter is what all stages of the training changed together, to rounding: each
weight has the rank of its own change. The scales of the quantiser come from the first texts of the training rows.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

import torch
from peft import LoraConfig
from safetensors.torch import save_file
from torch import Tensor, nn

from splare_plugins.config import SplareConfig
from splare_plugins.machine.files import file_sha256
from splare_plugins.model.builtin import BUILTIN_MODEL, ZERO_SHOT_MODEL, convert
from splare_plugins.model.splare import SplareModel
from splare_plugins.training.data.embed import read_texts

SAMPLE = 100  # texts a source and side
ROUNDING = 1e-4  # of the largest singular value of a change; training in float32 leaves about 1e-6


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("model", type=Path, help="folder that `splare train` wrote")
    arguments.add_argument("rows", nargs="+", help="training rows")
    arguments.add_argument("--revision", required=True, help="of the weights, such as trained-4")
    given = arguments.parse_args()
    here = Path(convert.__file__).parent
    trained, base = (SplareModel.from_pretrained(each, dtype="float32") for each in (given.model, ZERO_SHOT_MODEL))
    weights = write_adapter(here / f"{BUILTIN_MODEL}-adapter", base.backbone.model, trained.backbone.model)
    raw, rows = convert.raw_head(), trained.head.W
    gain = (rows * raw.W).sum(1) / raw.W.square().sum(1)  # rounding of the rows averages out
    calibration = {"gain": gain.detach(), "center": (raw.b - trained.head.b / gain).detach()}
    save_file(calibration, here / f"{BUILTIN_MODEL}.safetensors")
    shipped = dataclasses.replace(
        convert.settings(ZERO_SHOT_MODEL),
        name=BUILTIN_MODEL,
        revision=given.revision,
        adapter="adapter",
        adapter_sha256=file_sha256(weights),
        norm_power=SplareConfig.load(given.model).norm_power,
    )
    write_settings(here, shipped)
    model = SplareModel.from_pretrained(BUILTIN_MODEL)
    torch.testing.assert_close(model.head.W, rows, rtol=1e-2, atol=1e-3)
    for weight, other in zip(model.backbone.model.parameters(), trained.backbone.model.parameters(), strict=True):
        torch.testing.assert_close(weight, other, rtol=1e-3, atol=1e-3)
    texts = [read_texts([source]) for source in given.rows]
    queries, documents = ([text for each in texts for text in each[side][:SAMPLE]] for side in ("query", "document"))
    model.calibrate(queries, documents)
    write_settings(here, dataclasses.replace(shipped, query=model.config.query, document=model.config.document))


def write_adapter(folder: Path, base: nn.Module, trained: nn.Module) -> Path:
    """The adapter that makes ``trained`` of ``base``; returns the file of its weights."""
    factors = changes(base, trained)
    ranks = {module: len(down) for module, (down, _) in factors.items()}
    # Scaled by alpha / rank, which is one everywhere.
    config = LoraConfig(
        base_model_name_or_path=ZERO_SHOT_MODEL,
        inference_mode=True,
        target_modules=sorted(ranks),
        r=max(ranks.values()),
        lora_alpha=max(ranks.values()),
        rank_pattern=ranks,
        alpha_pattern=ranks,
    )
    folder.mkdir(exist_ok=True)
    settings, weights = (folder / name for name in convert.ADAPTER_FILES)
    settings.write_text(json.dumps(config.to_dict(), indent=2, default=sorted) + "\n", encoding="utf-8")
    tensors = {
        f"base_model.model.{module}.lora_{side}.weight": factor
        for module, pair in factors.items()
        for side, factor in zip("AB", pair, strict=True)
    }
    save_file(tensors, weights)
    return weights


def changes(base: nn.Module, trained: nn.Module) -> dict[str, tuple[Tensor, Tensor]]:
    """Modules whose weight changed, and the two factors of its change."""
    factors = {}
    new = dict(trained.named_parameters())
    for name, weight in base.named_parameters():
        if not torch.equal(weight, new[name]):
            u, s, v = torch.linalg.svd((new[name] - weight).detach(), full_matrices=False)
            rank = int((s > ROUNDING * s[0]).sum())
            root = s[:rank].sqrt()
            down, up = root[:, None] * v[:rank], u[:, :rank] * root
            factors[name.removesuffix(".weight")] = down.half().contiguous(), up.half().contiguous()
    return factors


def write_settings(here: Path, config: SplareConfig) -> None:
    (here / f"{BUILTIN_MODEL}.json").write_text(json.dumps(config.to_dict(), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
