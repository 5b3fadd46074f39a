"""The files of a static query encoder: inside the folder of the model that it belongs to, checked by their hashes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer

from splare_plugins.config import SplareConfig
from splare_plugins.errors import IdentityError, InputError
from splare_plugins.machine.files import file_sha256, read_json, write_json
from splare_plugins.machine.folders import replacing_folder
from splare_plugins.static.encoder import StaticQueryEncoder
from splare_plugins.static.table import TokenTable

FOLDER = "static"
CARD_FILE = "static.json"
TABLE_FILE = "table.safetensors"
TOKENIZER_FILE = "tokenizer.json"
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
        encoder.tokenizer.save(str(made / TOKENIZER_FILE))
        files = {name: file_sha256(made / name) for name in (TABLE_FILE, TOKENIZER_FILE)}
        belongs = {"model": encoder.config.name, "belongs_to": encoder.config.index_fingerprint()}
        card = {
            "version": FORMAT_VERSION,
            **belongs,
            "unit": table.unit,
            "width": table.width,
            "files": files,
            **facts,
        }
        write_json(made / CARD_FILE, card)


def load_static(config: SplareConfig, folder: Path) -> StaticQueryEncoder:
    """The static query encoder of a model.

    Args:
        config: of the model.
        folder: that :func:`save_static` wrote.

    Raises:
        InputError: if there is none, or its files are damaged.
        IdentityError: if it was made for another model.
    """
    if not (folder / CARD_FILE).is_file():
        raise InputError(
            f"{config.name} has no static query encoder in {folder}; train one (splare train static --help), or use "
            "the full one with --query-encoder full"
        )
    card = read_json(folder / CARD_FILE)
    if (version := card.get("version")) != FORMAT_VERSION:
        raise InputError(f"{folder / CARD_FILE} has version {version!r}, and 1 is read here; train it again")
    if card["belongs_to"] != config.index_fingerprint():
        raise IdentityError(
            f"{folder} was made for {card['model']} ({card['belongs_to']}), and the model at hand is "
            f"{config.describe()}; take the static encoder of this one, or train it"
        )
    for each, sha256 in card["files"].items():
        if not (folder / each).is_file() or file_sha256(folder / each) != sha256:
            raise InputError(f"{folder / each} is missing or damaged; train or fetch it again")
    try:
        arrays: dict[str, np.ndarray] = load_file(folder / TABLE_FILE)
    except SafetensorError as error:
        raise InputError(f"{folder / TABLE_FILE} is damaged ({error}); train or fetch it again") from error
    table = TokenTable(**arrays, unit=card["unit"], width=card["width"])
    return StaticQueryEncoder(config, table, Tokenizer.from_file(str(folder / TOKENIZER_FILE)))
