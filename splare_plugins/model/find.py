"""From a model's name to the folder that holds it, without reading its weights.

A sparse encoder of sentence-transformers is recognised by its name and checked here; that library is not imported.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import Path

from splare_plugins.backbone.source import NAMED
from splare_plugins.config import CONFIG_FILE, SplareConfig
from splare_plugins.errors import InputError
from splare_plugins.machine.files import read_json, read_json_list
from splare_plugins.machine.folders import restore_folder
from splare_plugins.machine.hub import hub_errors
from splare_plugins.model.builtin import BUILTIN_MODEL, BUILTIN_MODELS, builtin_folder

PREFIX = "st:"
ORIGIN_FILE = "splare_encoder.json"
HEAD_KIND = "st"
SETTINGS = "config_sentence_transformers.json"
_PICKLES = ("pytorch_model*.bin", "*.pt", "*.pth", "*.ckpt")


def locate_model(name: str, *, revision: str | None = None, local_files_only: bool = False) -> Path:
    """The local folder of a model: built in, on disk, or fetched from a hub into its cache.

    Args:
        name: a built-in model's name, a folder, or a hub id.
        revision: branch, tag or commit of a hub model.
        local_files_only: use only what the hub's cache holds already.

    Raises:
        InputError: if there is no such model, or a revision is asked of one on disk.
        MissingPartError: if the built-in model's wheel is not installed.
    """
    folder = builtin_folder(name) if name in BUILTIN_MODELS else _on_disk(name)
    if folder is not None and revision is not None:
        raise InputError(f"{name} is on this machine and has no revision {revision!r}; omit it, or give a hub id")
    if folder is not None:
        return folder
    require_model_name(name)
    from huggingface_hub import snapshot_download

    with hub_errors(name):
        return Path(snapshot_download(name, revision=revision, local_files_only=local_files_only))


def require_model_name(name: str) -> None:
    """Raise an ``InputError`` for what is neither a built-in model nor a folder, and cannot be a hub id."""
    if name in BUILTIN_MODELS or _on_disk(name) is not None:
        return
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise InputError(
            f"there is no model folder {name!r}; give a folder, a hub id like org/name, or {BUILTIN_MODEL}"
        )


def lasting_name(name: str) -> str:
    """A model's name that holds in other folders too."""
    kind = PREFIX if name.startswith(PREFIX) else ""
    path = Path(name.removeprefix(kind))
    return kind + str(path.resolve()) if path.exists() else name


def _builtin_backbone(name: str) -> Path:
    folder = builtin_folder(name)
    return folder / SplareConfig.load(folder).backbone


NAMED.update({name: partial(_builtin_backbone, name) for name in BUILTIN_MODELS})


def _on_disk(name: str | Path) -> Path | None:
    """The folder of that name; one that a killed process had moved aside is put back."""
    folder = Path(name)
    if not folder.is_dir() and folder.parent.is_dir():
        with suppress(OSError):
            restore_folder(folder)
    return folder if folder.is_dir() else None


def find_encoder(name: str | Path, *, revision: str | None = None, local_files_only: bool = False) -> Path | None:
    """The folder of a sparse encoder, where a model's name means one: ``st:NAME``, or a calibrated copy.

    The other arguments are those of :func:`locate_model`.

    Raises:
        InputError: if it is named by ``st:`` and is not one, or needs code or pickles of its own.
    """
    if str(name).startswith(PREFIX):
        name = str(name).removeprefix(PREFIX)
        folder = locate_model(name, revision=revision, local_files_only=local_files_only)
    else:
        found = _on_disk(name)
        if found is None or not _is_encoder(found):
            return None
        folder = found
    _require_sparse(folder)
    _require_only_tensors(folder)
    return folder


def _is_encoder(folder: Path) -> bool:
    if (folder / CONFIG_FILE).is_file():
        return SplareConfig.load(folder).head_kind == HEAD_KIND
    return (folder / ORIGIN_FILE).is_file()  # refused below, with the way out


def _require_sparse(folder: Path) -> None:
    if (folder / ORIGIN_FILE).is_file():
        whole = (folder / CONFIG_FILE).is_file()
        instead = (
            "name it without st:" if whole else "save it with save_pretrained(folder, embed=True) and name that one"
        )
        raise InputError(f"{folder} was saved by SplareEncoder; to use it as a SPLARE model, {instead}")
    if not (folder / "modules.json").is_file():
        raise InputError(
            f"{folder} was not saved by sentence-transformers: it has no modules.json; a SPLARE folder, or a SPLADE "
            "model of transformers alone, loads without st:"
        )
    kind = read_json(folder / SETTINGS).get("model_type") if (folder / SETTINGS).is_file() else None
    if kind != "SparseEncoder":
        raise InputError(
            f"{folder} is a {kind or 'SentenceTransformer'} model; st: takes sparse encoders (SparseEncoder) only, "
            "since the vectors of others have no terms to index"
        )


def _require_only_tensors(folder: Path) -> None:
    """Refuse modules of the model's own, and pickles, which may hold code."""
    kinds = [str(module.get("type")) for module in read_json_list(folder / "modules.json")]
    for router in folder.rglob("router_config.json"):
        kinds.extend(map(str, (read_json(router).get("types") or {}).values()))
    for kind in kinds:
        if not kind.startswith("sentence_transformers."):
            raise InputError(
                f"{folder} has the module {kind}, which is not part of sentence-transformers; code that comes with a "
                "model is never run"
            )
    for pattern in _PICKLES:
        for path in folder.rglob(pattern):
            if not any(path.parent.glob("*.safetensors")):
                raise InputError(f"{path} holds pickled weights, which are not read; save the model as safetensors")
