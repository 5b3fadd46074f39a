"""The tools of :mod:`splare_plugins.serving.tools` in the Model Context Protocol, over stdio or streamable HTTP."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from types import FrameType
from typing import Annotated, Any, TypeVar

import uvicorn
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import Field
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from splare_plugins import __version__
from splare_plugins.errors import SplareError
from splare_plugins.serving.answers import Explained, Found, Latent
from splare_plugins.serving.limits import ServerOptions
from splare_plugins.serving.listening import address_of, listen, uvicorn_settings, warn_if_open
from splare_plugins.serving.security import require_tls_files, token_matches
from splare_plugins.serving.tools import MOST_CHARACTERS, MOST_LATENTS, MOST_RESULTS, Library

Answer = TypeVar("Answer")
PATH = "/mcp"
_READ_ONLY = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)

Query = Annotated[
    str, Field(description=f"What to look for, in any language; at most {MOST_CHARACTERS:,} characters.")
]
QueryLatents = Annotated[
    int | None, Field(description="Latents kept of the query; by default as many as the model keeps.")
]
Steering = Annotated[
    dict[str, float | str],
    Field(
        description="Changes to latents of the query: a factor by latent, where 0 switches it off and 2 doubles it, "
        'or "@80" to put one in with the impact 80. Example: {"f7336": 0, "f2499": 2}.'
    ),
]


def build(library: Library) -> MCPServer[Any]:
    """A server of three tools that only read."""
    server: MCPServer[Any] = MCPServer(
        "splare",
        version=__version__,
        instructions="Searches an index of documents by latents of a sparse autoencoder, in any language the model "
        "reads, and tells why a document was found: which latents count, and on which words they fired. "
        f"The index when this server started: {library.description}.",
        log_level="WARNING",
    )

    async def told(work: Callable[..., Answer], *arguments: Any, **options: Any) -> Answer:
        try:
            job = library.index.submit(lambda searcher: work(searcher, *arguments, **options))
            return await asyncio.wrap_future(job)
        except SplareError as error:
            raise ToolError(str(error)) from error

    @server.tool(annotations=_READ_ONLY)
    async def search(
        query: Query,
        k: Annotated[int, Field(description=f"Most documents, 1 to {MOST_RESULTS}.")] = 10,
        evidence: Annotated[int, Field(description="Latents shown of each document; 0 for none is faster.")] = 3,
        text_characters: Annotated[int, Field(description="Characters shown of each text.")] = 1000,
        query_latents: QueryLatents = None,
        weights: Steering = {},  # noqa: B006 (a default in a schema)
    ) -> Found:
        """Find documents: ids, texts, scores and the latents that make each score. Latents can be steered."""
        options = {"k": k, "evidence": evidence, "text_characters": text_characters, "query_top_k": query_latents}
        return await told(library.search, query, **options, weights=weights)

    @server.tool(annotations=_READ_ONLY)
    async def explain(
        query: Query,
        docid: Annotated[str, Field(description="Id of a document, as search gives it.")],
        against: Annotated[
            str | None, Field(description="Id of another document: why one of the two stands above the other.")
        ] = None,
        latents: Annotated[int, Field(description=f"Most latents shown, 1 to {MOST_LATENTS}.")] = 10,
        query_latents: QueryLatents = None,
        weights: Steering = {},  # noqa: B006
    ) -> Explained:
        """Take a document's score apart: latents, their words, what is missing; or tell two documents apart."""
        options: dict[str, Any] = {"against": against, "latents": latents, "query_top_k": query_latents}
        return await told(library.explain, query, docid, **options, weights=weights)

    @server.tool(annotations=_READ_ONLY)
    async def latents(
        text: Annotated[str | None, Field(description="A text, to see what the model takes it for.")] = None,
        side: Annotated[str, Field(description="How the text is read: query or document.")] = "query",
        top: Annotated[int, Field(description=f"Most latents of the text, 1 to {MOST_LATENTS}.")] = 20,
        ids: Annotated[list[str] | None, Field(description="Instead of a text: latents, such as f7336.")] = None,
    ) -> list[Latent]:
        """The heaviest latents of a text, each with its label and the words on which it fired; or labels by ids."""
        if (text is None) == (ids is None):
            raise ToolError("give either text or ids")
        if ids is not None:
            return await told(library.named, ids)
        return await told(library.latents, text, side=side, top=top)

    return server


def serve_stdio(library: Library) -> None:
    """Serve the process that started this one, until it closes standard input."""
    build(library).run("stdio")


def serve_http(library: Library, options: ServerOptions, on_listening: Callable[[str], None]) -> None:
    """Serve over streamable HTTP until a signal comes; ``on_listening`` is called with the address before it.

    Raises:
        InputError: if the address or the TLS files cannot be used.
    """
    require_tls_files(options.tls_cert, options.tls_key)
    with listen(options.host, options.port) as listener:
        warn_if_open(options)
        on_listening(address_of(options, listener) + PATH)
        http_server(library, options).run(sockets=[listener])


def http_server(library: Library, options: ServerOptions) -> uvicorn.Server:
    """A server that has no socket yet."""
    # Each request stands alone, so nothing is kept of clients that went away.
    app: ASGIApp = build(library).streamable_http_app(
        streamable_http_path=PATH, stateless_http=True, json_response=True, host=options.host
    )
    if options.token is not None:
        app = _Guarded(app, options.token)
    return _Server(uvicorn.Config(app, **uvicorn_settings(options)))


class _Server(uvicorn.Server):
    """uvicorn's, with status 0 after an orderly end."""

    should_exit: bool

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Finish what was taken; a second signal stops at once."""
        if self.should_exit:
            self.force_exit = True
        self.should_exit = True


class _Guarded:
    """Lets in who sends the token."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scheme, _, given = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1").partition(" ")
            if scheme.lower() != "bearer" or not token_matches(given.strip(), self._token):
                refusal = JSONResponse(
                    {"detail": "send the server's token as Authorization: Bearer ..."},
                    401,
                    headers={"WWW-Authenticate": "Bearer"},
                )
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)


@contextmanager
def stdout_for_the_protocol() -> Iterator[None]:
    """What anything prints meanwhile, Java included, goes to standard error; later the SDK sees to that itself."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
