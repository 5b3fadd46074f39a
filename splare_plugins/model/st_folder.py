"""Folders of sentence-transformers' sparse encoders: found, checked and hashed without importing that library."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from splare_plugins.config import CONFIG_FILE, SplareConfig
from splare_plugins.errors import InputError
from splare_plugins.machine.files import file_sha256, read_json
from splare_plugins.model.locate import locate_model

PREFIX = "st:"
ORIGIN_FILE = "splare_encoder.json"
HEAD_KIND = "st"
SETTINGS = "config_sentence_transformers.json"
_PICKLES = ("pytorch_model*.bin", "*.pt", "*.pth", "*.ckpt")
_HASHED = (".json", ".txt", ".model", ".safetensors")
# What does not change a vector, or stands in the config as prompt and top-k.
_NOT_HASHED = (CONFIG_FILE, SETTINGS)


def find_encoder(name: str | Path, *, revision: str | None = None, local_files_only: bool = False) -> Path | None:
    """The folder of a sparse encoder, where a model's name means one: ``st:NAME``, or a calibrated copy.

    Args:
        name: ``st:`` and a folder or hub id; or a folder that ``StModel.save_pretrained`` wrote.
        revision: branch, tag or commit of a hub model.
        local_files_only: never ask a hub.

    Raises:
        InputError: if it is named by ``st:`` and is none, or needs code or pickles of its own.
    """
    path = str(name)
    if path.startswith(PREFIX):
        folder = locate_model(path.removeprefix(PREFIX), revision=revision, local_files_only=local_files_only)
    elif (Path(path) / CONFIG_FILE).is_file() and SplareConfig.load(Path(path)).head_kind == HEAD_KIND:
        folder = Path(path)
    elif (Path(path) / ORIGIN_FILE).is_file() and not (Path(path) / CONFIG_FILE).is_file():
        folder = Path(path)  # refused below
    else:
        return None
    _require_sparse(folder)
    _require_no_code(folder)
    _require_no_pickles(folder)
    return folder


def encoder_sha256(folder: Path) -> str:
    """One hash over every file that vectors depend on."""
    digest = hashlib.sha256()
    files = (path for path in folder.rglob("*") if path.suffix in _HASHED and path.is_file())
    for path in sorted(files):
        place = path.relative_to(folder)
        if str(place) not in _NOT_HASHED and not any(part.startswith(".") for part in place.parts):
            digest.update(f"{place.as_posix()} {file_sha256(path)}\n".encode())
    return digest.hexdigest()


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


def _require_no_code(folder: Path) -> None:
    kinds = [str(module.get("type")) for module in read_list(folder / "modules.json")]
    for router in folder.rglob("router_config.json"):
        kinds.extend(map(str, (read_json(router).get("types") or {}).values()))
    for kind in kinds:
        if not kind.startswith("sentence_transformers."):
            raise InputError(
                f"{folder} has the module {kind}, which is no part of sentence-transformers; code that comes with a "
                "model is never run"
            )


def _require_no_pickles(folder: Path) -> None:
    for pattern in _PICKLES:
        for path in folder.rglob(pattern):
            if not any(path.parent.glob("*.safetensors")):
                raise InputError(f"{path} holds pickled weights, which are not read; save the model as safetensors")


def read_list(path: Path) -> list[dict[str, Any]]:
    """A JSON list of objects.

    Raises:
        InputError: if the file is missing or holds something else.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path} ({error}); fetch the model again") from error
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise InputError(f"{path} must hold a list of JSON objects; fetch the model again")
    return values
