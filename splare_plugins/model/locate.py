"""From a model's name to the folder that holds it."""

from __future__ import annotations

from pathlib import Path

from splare_plugins.errors import InputError
from splare_plugins.machine.hub import hub_errors
from splare_plugins.model.builtin import BUILTIN_MODEL, BUILTIN_MODELS, builtin_folder


def locate_model(name: str, *, revision: str | None = None, local_files_only: bool = False) -> Path:
    """The local folder of a model: built in, on disk, or fetched from a hub into its cache.

    Args:
        name: a built-in model's name, a folder, or a hub id.
        revision: branch, tag or commit of a hub model.
        local_files_only: use only what the hub's cache holds already.

    Raises:
        InputError: if there is no such model.
        MissingPartError: if the built-in model's wheel is not installed.
    """
    if name in BUILTIN_MODELS:
        return builtin_folder(name)
    if Path(name).is_dir():
        return Path(name)
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise InputError(
            f"there is no model folder {name!r}; give a folder, a hub id like org/name, or {BUILTIN_MODEL}"
        )
    from huggingface_hub import snapshot_download

    with hub_errors(name):
        return Path(snapshot_download(name, revision=revision, local_files_only=local_files_only))
