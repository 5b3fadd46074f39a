"""``splare mcp``: an index as tools of language-model agents."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from splare_plugins.cli.index_model import IndexModel, QueryEncoderOption, load_explaining
from splare_plugins.cli.options import Loading, expand_options
from splare_plugins.cli.places import engine_of, require_index
from splare_plugins.errors import InputError, MissingPartError
from splare_plugins.machine.places import without_password
from splare_plugins.serving.limits import ServerOptions

PORT = 8086


@expand_options
def mcp(
    index: Annotated[str, typer.Option(help="Folder of an index, or its address, whose model and texts are taken.")],
    loading: Loading,
    corpus: Annotated[str | None, typer.Option(help="Where the texts of the index stand, if it keeps none.")] = None,
    model: IndexModel = None,
    query_encoder: QueryEncoderOption = "model",
    http: Annotated[bool, typer.Option("--http", help="Serve streamable HTTP instead of stdio.")] = False,
    host: Annotated[
        str | None,
        typer.Option(
            help="With --http: address to listen on; others than loopback let other machines in.",
            show_default=ServerOptions.host,
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(help="With --http: port, 0 for any free one.", show_default=str(PORT), min=0, max=65535),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            help="With --http: file with the token that clients must send.",
            show_default="$SPLARE_SERVE_TOKEN, or none",
        ),
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="With --http: PEM certificate.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="With --http: its PEM key, not encrypted.")] = None,
) -> None:
    """Offer an index to agents through the Model Context Protocol: the tools search, explain and latents.

    Over stdio an agent starts this command itself, and standard output carries nothing but the protocol. With --http
    the address goes to standard output; it ends with Ctrl-C or SIGTERM.
    """
    from splare_plugins.corpus import read_documents
    from splare_plugins.engines import get_engine

    try:
        from splare_plugins.serving.mcp_server import serve_http, serve_stdio, stdout_for_the_protocol
        from splare_plugins.serving.security import read_token
        from splare_plugins.serving.tools import Library
        from splare_plugins.serving.watched import WatchedIndex
    except ModuleNotFoundError as error:
        raise MissingPartError(
            f"an MCP server needs {error.name}; install it with: pip install 'splare-plugins[mcp]'"
        ) from error
    given = {"--host": host, "--port": port, "--token-file": token_file, "--tls-cert": tls_cert, "--tls-key": tls_key}
    if not http and (said := next((name for name, value in given.items() if value is not None), None)):
        raise InputError(f"{said} is for a server over HTTP; add --http, or omit {said}")
    options = ServerOptions(
        host=host or ServerOptions.host,
        port=PORT if port is None else port,
        token=read_token(token_file) if http else None,
        tls_cert=tls_cert,
        tls_key=tls_key,
    )
    require_index(index)
    with ExitStack() as stack:
        with stdout_for_the_protocol():
            engine = get_engine(engine_of(index))
            texts = None
            if corpus is not None:
                texts = {each.docid: each.content for each in read_documents(corpus, on_duplicate="first")}
            watched = WatchedIndex(index, lambda: engine.searcher(index), texts=texts)
            what = f"the index at {without_password(index)}"
            library = Library(
                watched, lambda made_with: load_explaining(made_with, model, query_encoder, loading, what)
            )
            stack.callback(watched.close)
        if http:
            serve_http(library, options, lambda address: typer.echo(f"listening on {address}"))
        else:
            serve_stdio(library)
