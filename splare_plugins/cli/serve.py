"""``splare serve``: the encoder as an HTTP service."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from splare_plugins.cli.index_model import (
    QueryEncoderOption,
    asks_for_table,
    index_model_name,
    load_query_encoder,
    require_no_loading,
)
from splare_plugins.cli.options import DEFAULT_MODEL, Computing, Loading, expand_options
from splare_plugins.cli.places import engine_of, require_index
from splare_plugins.errors import InputError, MissingPartError
from splare_plugins.machine.places import without_password
from splare_plugins.serving.limits import Limits, ServerOptions

if TYPE_CHECKING:
    from splare_plugins.config import SplareConfig
    from splare_plugins.model.encoder import Encoder
    from splare_plugins.serving.searching import SearchIndex
    from splare_plugins.serving.service import ServedEncoder


@expand_options
def serve(
    computing: Computing,
    model: Annotated[
        str | None,
        typer.Argument(
            help="Built-in name, model folder or hub id.", show_default=f"{DEFAULT_MODEL}, or the index's own"
        ),
    ] = None,
    index: Annotated[
        str | None, typer.Option(help="Folder of an index, or its address: / is then a page that searches it.")
    ] = None,
    corpus: Annotated[str | None, typer.Option(help="With --index: where its texts stand, if it keeps none.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; others than loopback let other machines in.")] = (
        ServerOptions.host
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = ServerOptions.port,
    query_encoder: QueryEncoderOption = "model",
    device: Annotated[
        list[str] | None, typer.Option(help="auto, cpu, cuda, cuda:1, mps; repeat it for one model on each.")
    ] = None,
    max_queue_tokens: Annotated[
        int | None, typer.Option(help="Estimated tokens that may wait before 429; by default 16 forward passes.")
    ] = None,
    batch_tokens: Annotated[
        int | None, typer.Option(help="Estimated tokens handed to a model at once; by default 2 forward passes.")
    ] = None,
    max_body_bytes: Annotated[int, typer.Option(help="Largest request.")] = Limits.body_bytes,
    max_texts: Annotated[int, typer.Option(help="Most texts of a request.")] = Limits.texts,
    max_text_characters: Annotated[int, typer.Option(help="What is read of a text.")] = Limits.text_characters,
    max_connections: Annotated[
        int, typer.Option(min=1, help="More at a time are answered 503.")
    ] = ServerOptions.max_connections,
    token_file: Annotated[
        Path | None,
        typer.Option(help="File with a bearer token that clients must send; or set SPLARE_SERVE_TOKEN."),
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="PEM certificate chain, for https.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its PEM key.")] = None,
    drain_seconds: Annotated[
        float, typer.Option(min=0, help="After SIGTERM, go on for so long with /readyz at 503.")
    ] = ServerOptions.drain_seconds,
    shutdown_seconds: Annotated[
        int, typer.Option(min=1, help="Then wait at most so long for requests that were taken.")
    ] = ServerOptions.shutdown_seconds,
) -> None:
    """Serve a model to OpenSearch and others: POST /encode, until Ctrl-C or SIGTERM; with --index, a search page too.

    The address goes to standard output, logs go to standard error, one JSON object a line.
    """
    try:
        from splare_plugins.serving.security import read_token
        from splare_plugins.serving.server import log_as_json
        from splare_plugins.serving.server import serve as serve_until_signal
    except ModuleNotFoundError as error:
        raise MissingPartError(
            f"serving needs {error.name}; install it with: pip install 'splare-plugins[serve]'"
        ) from error
    limits = Limits(
        queue_tokens=max_queue_tokens,
        batch_tokens=batch_tokens,
        body_bytes=max_body_bytes,
        texts=max_texts,
        text_characters=max_text_characters,
    )
    options = ServerOptions(
        host=host,
        port=port,
        token=read_token(token_file),
        tls_cert=tls_cert,
        tls_key=tls_key,
        max_connections=max_connections,
        drain_seconds=drain_seconds,
        shutdown_seconds=shutdown_seconds,
    )
    if corpus is not None and index is None:
        raise InputError("--corpus holds the texts of an index, which is not given; add --index, or omit --corpus")
    searched = None
    if index is None:
        load = _loading(model or DEFAULT_MODEL, query_encoder, computing, device)
    else:
        if asks_for_table(query_encoder):
            _require_no_device(computing, device)
        searched = _open_index(index, corpus)
        load = _loading_for(
            searched.config, model, query_encoder, computing, f"the index at {without_password(index)}"
        )
    log_as_json()
    serve_until_signal(
        load,
        device or ["auto"],
        limits,
        options,
        lambda address: typer.echo(f"listening on {address}"),
        searched,
    )


def _loading(
    model: str, query_encoder: str, computing: Computing, device: list[str] | None
) -> Callable[[str], ServedEncoder]:
    """What loads the model on a device; of a table, which encodes queries alone, there is one for all."""
    from splare_plugins.model.queries import load_static_queries

    table = load_static_queries(model, query_encoder)
    if table is not None:
        _require_no_device(computing, device)
        return lambda _: table
    from splare_plugins.model import SplareModel

    return lambda on: SplareModel.from_pretrained(model, device=on, **computing.arguments())


def _require_no_device(computing: Computing, device: list[str] | None) -> None:
    require_no_loading(computing)
    if device:
        raise InputError("a static query encoder is a table and runs on the processor; omit --device")


def _loading_for(
    made_with: SplareConfig | None,
    model: str | None,
    query_encoder: str,
    computing: Computing,
    what: str,
) -> Callable[[str], ServedEncoder]:
    """What loads the model of an index on a device; a table that is asked for takes its place."""
    if asks_for_table(query_encoder):
        table = load_query_encoder(made_with, model, query_encoder, Loading(), what)
        return lambda _: table
    from splare_plugins.model import SplareModel

    name = index_model_name(made_with, model, what)

    def load(on: str) -> Encoder:
        loaded = SplareModel.from_pretrained(name, device=on, query_encoder=query_encoder, **computing.arguments())
        if made_with is not None:
            loaded.config.require_same_index(made_with, what)
        return loaded

    return load


def _open_index(index: str, corpus: str | None) -> SearchIndex:
    from splare_plugins.corpus import read_documents
    from splare_plugins.engines import get_engine
    from splare_plugins.serving.searching import SearchIndex

    require_index(index)
    engine = get_engine(engine_of(index))
    texts = None
    if corpus is not None:
        texts = {each.docid: each.content for each in read_documents(corpus, on_duplicate="first")}
    searched = SearchIndex(index, lambda: engine.searcher(index), texts=texts)
    searched.start()
    return searched
