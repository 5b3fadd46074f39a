"""The models of an experiment, by what its systems say; those that cannot be used are refused before any is loaded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from splare_plugins.experiment.config import ExperimentConfig
from splare_plugins.experiment.store import Encodings, Steps
from splare_plugins.impacts import Quantizer

if TYPE_CHECKING:
    from splare_plugins.model.cross_encoder import CrossEncoderModel


def open_models(config: ExperimentConfig, folder: Path, steps: Steps) -> dict[str, Encodings]:
    """Models by name, those that cannot be used refused."""
    from splare_plugins.model.dense import require_dense  # imports torch, which showing tables does not need

    models: dict[str, Encodings] = {}
    for system in config.systems:
        if system.way in ("dense", "splare", "splade"):
            name = system.model_name
            if name not in models:
                models[name] = Encodings(name, config, folder, steps)
            known = replace(models[name].config, location=name)
            models[name].table(system.query_encoder)  # refuses one that is missing or another model's
            if system.way == "dense":
                require_dense(known)
            else:
                Quantizer.from_config(known)  # refuses a model without scales
    return models


def open_readers(config: ExperimentConfig) -> dict[str, CrossEncoderModel]:
    """Cross-encoders by system, those that cannot be used refused."""
    from splare_plugins.model.cross_encoder import CrossEncoderModel

    return {
        system.name: CrossEncoderModel(
            system.model_name, device=config.device, dtype=config.dtype, max_length=system.max_length
        )
        for system in config.systems
        if system.way == "cross"
    }
