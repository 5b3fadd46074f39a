"""The files of a static query encoder, checked by their hashes.

The folder has the config of the model that it belongs to beside the table, so that a machine which only searches needs
nothing else of the model.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from splare_plugins.config import SplareConfig
from splare_plugins.errors import IdentityError, InputError, splare_command
from splare_plugins.heads.labels import LABELS
from splare_plugins.machine.files import file_sha256, read_json, write_json
from splare_plugins.machine.folders import replacing_folder
from splare_plugins.static.encoder import StaticQueryEncoder
from splare_plugins.static.pieces import SENTENCEPIECE_FILE, TOKENIZERS_FILE, read_pieces
from splare_plugins.static.table import TokenTable

FOLDER = "static"
CARD_FILE = "static.json"
TABLE_FILE = "table.safetensors"
FORMAT_VERSION = 1


def save_static(encoder: StaticQueryEncoder, folder: Path, **facts: Any) -> None:
    """Write an encoder into a folder of its own, ``static`` in that of its model.

    Args:
        encoder: to write.
        folder: to make, or to replace.
        **facts: what else its card says, such as how it was trained.
    """
    table = encoder.table
    with replacing_folder(folder) as made:
        save_file({"starts": table.starts, "latents": table.latents, "weights": table.weights}, made / TABLE_FILE)
        tokenizer = encoder.tokenizer
        (made / tokenizer.file).write_bytes(tokenizer.content)
        if (labels := encoder.head.table) is not None and labels.is_file():
            shutil.copyfile(labels, made / LABELS)
        files = {name: file_sha256(made / name) for name in (TABLE_FILE, tokenizer.file)}
        model = {"model": encoder.config.name, "fingerprint": encoder.config.index_fingerprint()}
        encoder.config.save(made)
        sizes = {"tokens": len(table), "entries": len(table.latents), "unit": table.unit, "width": table.width}
        write_json(made / CARD_FILE, {"version": FORMAT_VERSION, **model, **sizes, "files": files, **facts})


def copy_static(encoder: StaticQueryEncoder, folder: Path) -> None:
    """Write an encoder as it was loaded, with all that its card says, into another folder."""
    if encoder.folder is None:
        save_static(encoder, folder)
    elif encoder.folder.resolve() != folder.resolve():
        with replacing_folder(folder) as made:
            shutil.copytree(encoder.folder, made, dirs_exist_ok=True)


def is_static(folder: Path) -> bool:
    """Whether a folder holds a static query encoder."""
    return (folder / CARD_FILE).is_file()


def load_static(
    folder: str | Path, model: SplareConfig | None = None, *, labels: Path | None = None
) -> StaticQueryEncoder:
    """A static query encoder.

    Args:
        folder: that :func:`save_static` wrote.
        model: whose queries it is to encode; by default the one that it was made for.
        labels: table of what its latents are called; by default the folder's own, if it has one.

    Raises:
        InputError: if there is none, or its files are damaged.
        IdentityError: if it was made for another model.
    """
    folder = Path(folder)
    if not is_static(folder):
        whose = (
            f"{model.name} has no static query encoder in {folder}"
            if model
            else f"{folder} is not a folder with a static query encoder"
        )
        raise InputError(
            f"{whose}; train one ({splare_command('train', 'static', '--help')}), or use the model's own with "
            "--query-encoder full"
        )
    card = read_json(folder / CARD_FILE)
    if (version := card.get("version")) != FORMAT_VERSION:
        raise InputError(f"{folder / CARD_FILE} has version {version!r}, and 1 is read here; train it again")
    own = SplareConfig.load(folder)
    if model is not None and own.index_fingerprint() != model.index_fingerprint():
        raise IdentityError(
            f"{folder} was made for {own.describe()}, and the model at hand is {model.describe()}; take the static "
            "encoder of this one, or train it"
        )
    for each, sha256 in card["files"].items():
        if not (folder / each).is_file() or file_sha256(folder / each) != sha256:
            raise InputError(f"{folder / each} is missing or damaged; train or fetch it again")
    try:
        arrays: dict[str, np.ndarray] = load_file(folder / TABLE_FILE)
    except SafetensorError as error:
        raise InputError(f"{folder / TABLE_FILE} is damaged ({error}); train or fetch it again") from error
    table = TokenTable(**arrays, unit=card["unit"], width=card["width"])
    tokenizer = read_pieces(folder / (SENTENCEPIECE_FILE if SENTENCEPIECE_FILE in card["files"] else TOKENIZERS_FILE))
    return StaticQueryEncoder(model or own, table, tokenizer, folder=folder, labels=labels or folder / LABELS)
