"""The encoder of an index's model, which a verb that searches asks for: the full one, or a table in its place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from splare_plugins.cli.options import DEFAULT_MODEL, Loading, load_model
from splare_plugins.errors import InputError

if TYPE_CHECKING:
    from splare_plugins.config import SplareConfig
    from splare_plugins.model.encoder import Encoder
    from splare_plugins.static import StaticQueryEncoder

FULL, STATIC = "full", "static"

IndexModel = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-M",
        help="Built-in name, model folder, hub id, or st:FOLDER.",
        show_default="the one that made the index",
    ),
]


def load_index_model(made_with: SplareConfig | None, name: str | None, loading: Loading, what: str) -> Encoder:
    """The model that is named, or else the one that made an index.

    Args:
        made_with: what the index says of its model.
        name: value of ``--model``.
        loading: how to load it.
        what: what the index is called in messages.

    Raises:
        InputError: if the index's model is no longer where it was.
        IdentityError: if the model is another one.
    """
    own = name is None and made_with is not None and made_with.location is not None
    if own and loading.quantize == "model" and made_with is not None and made_with.quantization:
        loading = replace(loading, quantize=made_with.quantization)
    loaded = load_model(_index_model_name(made_with, name, what), loading)
    if made_with is not None:
        loaded.config.require_same_index(made_with, what)
    return loaded


def _index_model_name(made_with: SplareConfig | None, name: str | None, what: str) -> str:
    """The model that is named, or else the one that made an index, where that still is."""
    if name is not None or made_with is None:
        return name or DEFAULT_MODEL
    if made_with.location is None:
        from splare_plugins.model.builtin import BUILTIN_MODELS

        return made_with.name if made_with.name in BUILTIN_MODELS else DEFAULT_MODEL
    path = Path(made_with.location.removeprefix("st:"))
    if path.is_absolute() and not path.exists():
        raise InputError(
            f"{what} was made with {made_with.name}, which is no longer at {path}; name its place with --model"
        )
    return made_with.location


def load_static_encoder(made_with: SplareConfig | None, name: str | None, which: str, what: str) -> StaticQueryEncoder:
    """The table that encodes queries for an index's model.

    Args:
        made_with: what the index says of its model.
        name: value of ``--model``.
        which: ``static`` for the one in the model's folder, or the folder of one.
        what: what the index is called in messages.

    Raises:
        InputError: if there is none.
        IdentityError: if it belongs to another model.
    """
    from splare_plugins.config import SplareConfig
    from splare_plugins.model.find import locate_model
    from splare_plugins.static import load_static

    folder = locate_model(_index_model_name(made_with, name, what))
    config = SplareConfig.load(folder)
    if made_with is not None:
        config.require_same_index(made_with, what)
    return load_static(config, folder / STATIC if which == STATIC else Path(which))
