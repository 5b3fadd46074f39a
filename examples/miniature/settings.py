"""How large everything is, and what the command line says of it."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

LANGUAGES = ("en", "de", "es", "ru", "zh", "ar")
METHODS = ("splare", "splade")
NEEDED = ("scifact/qrels/train.tsv", "scifact/qrels/test.tsv", *(f"xquad/{language}" for language in LANGUAGES))


@dataclasses.dataclass
class Settings:
    """How large everything is; ``--NAME`` on the command line changes any of it."""

    layer: int = 19
    latents: int = 16_384
    k: int = 64
    queries: int = 6_000
    negatives: int = 4
    texts: int = 10_400_000
    """Characters of unlabelled text."""
    length: int = 128
    steps_mntp: int = 400
    batch_mntp: int = 32
    steps_sae: int = 1_000
    batch_sae: int = 32
    """Texts of ``length`` tokens that a step of the autoencoder learns from."""
    steps_train: int = 500
    batch_train: int = 64
    rank: int = 64
    learning_rate: float = 2e-4
    temperature_splare: float = 80.0
    temperature_splade: float = 10.0
    lambda_splare: float = 1e-4
    lambda_splade: float = 1e-4
    max_length: int = 512
    test_queries: int = 1_190
    test_documents: int = 10_000
    token_norm: float = 4.0
    """States longer than so many times the median are left out: the first token's, where attention rests."""
    seed: int = 42


SHORT = Settings(
    queries=64,
    texts=60_000,
    length=48,
    steps_mntp=6,
    batch_mntp=8,
    latents=1_024,
    steps_sae=15,
    batch_sae=8,
    steps_train=8,
    batch_train=4,
    negatives=2,
    rank=8,
    max_length=96,
    test_queries=8,
    test_documents=16,
)


def parse(description: str, arguments: list[str] | None) -> tuple[Path, Settings, argparse.Namespace]:
    """The folder, the settings of the preset with what was asked for, and the other options."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="folder for everything that is made")
    parser.add_argument("--data", required=True, help="folder of BEIR folders: scifact, xquad/en, xquad/de, ...")
    parser.add_argument("--short", action="store_true", help="a few steps of everything, minutes on two cores")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--backbone", help="GGUF file or transformers folder; left out, SmolLM2 of its wheel")
    parser.add_argument("--teacher", default="sentence-transformers/all-MiniLM-L6-v2", help="folder or hub id")
    parser.add_argument("--together", action="store_true", help="train both at the same time, on a large GPU")
    for field in dataclasses.fields(Settings):
        kind = type(getattr(SHORT, field.name))
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=kind, metavar="N", dest=field.name)
    options = parser.parse_args(arguments)
    if missing := [name for name in NEEDED if not Path(options.data, name).exists()]:
        parser.error(f"{options.data} has no {missing[0]}; --data is a folder such as examples/data")
    asked = {field.name: getattr(options, field.name) for field in dataclasses.fields(Settings)}
    preset = SHORT if options.short else Settings()
    changed = {name: value for name, value in asked.items() if value is not None}
    return options.work.resolve(), dataclasses.replace(preset, **changed), options
