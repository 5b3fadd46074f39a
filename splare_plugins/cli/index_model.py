"""The encoder of an index's model, which a verb that searches asks for: the full one, or a table in its place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from splare_plugins.cli.options import DEFAULT_MODEL, Computing, Loading, load_model
from splare_plugins.errors import InputError

if TYPE_CHECKING:
    from splare_plugins.config import SplareConfig
    from splare_plugins.model.encoder import Encoder
    from splare_plugins.static import StaticQueryEncoder

IndexModel = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-M",
        help="Built-in name, model folder, hub id, or st:FOLDER.",
        show_default="the one that made the index",
    ),
]


QueryEncoderOption = Annotated[
    str,
    typer.Option(
        "--query-encoder",
        help="full: the model; static: its table of tokens, without a transformer (see `splare train static`); the "
        "folder of such a table; or as the model says.",
    ),
]


def load_query_encoder(
    made_with: SplareConfig | None, name: str | None, query_encoder: str, loading: Loading, what: str
) -> Encoder | StaticQueryEncoder:
    """What encodes the queries of an index: its model, or a table, for which no model is loaded.

    Args:
        made_with: what the index says of its model.
        name: value of ``--model``.
        query_encoder: value of ``--query-encoder``.
        loading: how to load the model.
        what: what the index is called in messages.

    Raises:
        InputError: as :func:`load_index_model`, if there is no such table, or for options of loading with one.
        IdentityError: if the model or the table is another one.
    """
    from splare_plugins.model.queries import NAMES, load_static_queries

    # A folder says all that there is to know, so the model need not be on this machine.
    model = index_model_name(made_with, name, what) if query_encoder in NAMES else ""
    if asks_for_table(query_encoder):
        require_no_loading(loading)
    table = load_static_queries(model, query_encoder)
    if table is None:
        return load_index_model(made_with, name, loading, what)
    require_no_loading(loading)
    if made_with is not None:
        table.config.require_same_index(made_with, what)
    return table


def load_explaining(
    made_with: SplareConfig | None, name: str | None, query_encoder: str, loading: Loading, what: str
) -> Encoder | StaticQueryEncoder:
    """What explains the hits of an index: a table alone where one is named, else the model, which marks more words.

    Arguments and errors are those of :func:`load_query_encoder`.
    """
    if asks_for_table(query_encoder):
        return load_query_encoder(made_with, name, query_encoder, loading, what)
    return load_index_model(made_with, name, loading, what, query_encoder)


def asks_for_table(query_encoder: str) -> bool:
    """Whether ``--query-encoder`` names a table, so that no model is wanted; its config may still name one."""
    from splare_plugins.config import FULL
    from splare_plugins.model.queries import MODEL

    return query_encoder not in (MODEL, FULL)


def require_no_loading(computing: Computing) -> None:
    """Refuse options of loading a model where a table encodes the queries.

    Raises:
        InputError: then.
    """
    if computing != type(computing)():
        raise InputError(
            "a static query encoder is a table and no model is loaded; omit --device, --dtype, --runtime, --attention "
            "and --quantize, or ask for --query-encoder full"
        )


def load_index_model(
    made_with: SplareConfig | None, name: str | None, loading: Loading, what: str, query_encoder: str = "model"
) -> Encoder:
    """The model that is named, or else the one that made an index.

    Args:
        made_with: what the index says of its model.
        name: value of ``--model``.
        loading: how to load it.
        what: what the index is called in messages.
        query_encoder: what encodes queries in it; value of ``--query-encoder``.

    Raises:
        InputError: if the index's model is no longer where it was.
        IdentityError: if the model is another one.
    """
    own = name is None and made_with is not None and made_with.location is not None
    if own and loading.quantize == "model" and made_with is not None and made_with.quantization:
        loading = replace(loading, quantize=made_with.quantization)
    loaded = load_model(index_model_name(made_with, name, what), loading, query_encoder)
    if made_with is not None:
        loaded.config.require_same_index(made_with, what)
    return loaded


def index_model_name(made_with: SplareConfig | None, name: str | None, what: str) -> str:
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
