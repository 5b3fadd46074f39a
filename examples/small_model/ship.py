"""Puts a trained small model into the package: ``python examples/small_model/ship.py RUN/model ROWS...``.

What was learned is all that ships: the adapter in half precision, and the threshold and gain of each latent, against
the wheel's own backbone and SAE. The scales of the quantiser come from the first texts of the training rows.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from splare_plugins.builtin import BUILTIN_MODEL, ZERO_SHOT_MODEL, convert
from splare_plugins.config import SplareConfig
from splare_plugins.files import file_sha256
from splare_plugins.heads import load_head
from splare_plugins.model import SplareModel
from splare_plugins.training.embed import read_texts

SAMPLE = 100  # texts a source and side


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("model", type=Path, help="folder that `splare train` wrote")
    arguments.add_argument("rows", nargs="+", help="training rows")
    arguments.add_argument("--revision", required=True, help="of the weights, such as trained-4")
    given = arguments.parse_args()
    here = Path(convert.__file__).parent
    adapter = here / f"{BUILTIN_MODEL}-adapter"
    adapter.mkdir(exist_ok=True)
    settings, weights = (adapter / name for name in convert.ADAPTER_FILES)
    config = json.loads((given.model / "adapter" / settings.name).read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = ZERO_SHOT_MODEL
    settings.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    save_file({name: each.half() for name, each in load_file(given.model / "adapter" / weights.name).items()}, weights)
    raw, trained = convert.raw_head(), load_head("sae", given.model / "head")
    rows = trained.W.float()
    gain = (rows * raw.W).sum(1) / raw.W.square().sum(1)  # rounding of the rows averages out
    calibration = {"gain": gain.detach(), "center": (raw.b - trained.b / gain).detach()}
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
    texts = [read_texts([source]) for source in given.rows]
    queries, documents = ([text for each in texts for text in each[side][:SAMPLE]] for side in ("query", "document"))
    model.calibrate(queries, documents)
    write_settings(here, dataclasses.replace(shipped, query=model.config.query, document=model.config.document))


def write_settings(here: Path, config: SplareConfig) -> None:
    (here / f"{BUILTIN_MODEL}.json").write_text(json.dumps(config.to_dict(), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
