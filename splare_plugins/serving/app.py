"""The routes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import prometheus_client
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response
from fastapi.security import HTTPBearer
from starlette.requests import ClientDisconnect

from splare_plugins import __version__
from splare_plugins.errors import InputError
from splare_plugins.serving.intake import answer_or_gone, read_request
from splare_plugins.serving.middleware import CLIENT_GONE, Observe
from splare_plugins.serving.page import PATHS as PAGE_PATHS
from splare_plugins.serving.page import SearchRoutes, static_routes
from splare_plugins.serving.queue import QueueFullError
from splare_plugins.serving.schemas import (
    OPENSEARCH_QUERY_DIVISOR,
    EncodeRequest,
    ModelInfo,
    Problem,
    SparseArrays,
    Status,
    render,
)
from splare_plugins.serving.searching import SearchIndex
from splare_plugins.serving.security import token_matches
from splare_plugins.serving.service import Service

logger = logging.getLogger(__name__)

PATHS = ("/encode", "/model", "/healthz", "/readyz", "/metrics", "/openapi.json", "/docs")
_NOT_READY_RETRY = 5
_DESCRIPTION = """Texts to sparse latent weights of a SPLARE model.

`POST /encode` answers with a bare list of maps, which is what OpenSearch takes from a remote sparse-encoding model."""


def create_app(
    service: Service,
    *,
    token: str | None = None,
    on_failure: Callable[[], None] = lambda: None,
    index: SearchIndex | None = None,
) -> FastAPI:
    """The application; its lifespan starts and stops the service. With an ``index``, ``/`` is a page that searches it.

    ``/encode``, ``/model`` and ``/metrics`` ask for the ``token``, if there is one, as a bearer token;
    ``on_failure`` is called from another thread if a model cannot be loaded.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.start(on_failure)
        yield
        await asyncio.to_thread(service.stop)
        if index is not None:
            await asyncio.to_thread(index.close)

    app = FastAPI(
        title="SPLARE encoder", version=__version__, description=_DESCRIPTION, lifespan=lifespan, redoc_url=None
    )
    paths = PATHS if index is None else (*PATHS, *PAGE_PATHS)
    app.add_middleware(Observe, metrics=service.metrics, paths=paths)
    guarded = APIRouter()
    if token is not None:
        guarded = APIRouter(dependencies=[Depends(_Bearer(token))], responses=_problems(401))
    _add_encode(guarded, service)
    if index is not None:
        app.include_router(static_routes(service))
        SearchRoutes(service, index).add_to(guarded)

    @guarded.get("/model", responses=_problems(503))
    async def model() -> ModelInfo:
        """Which model answers."""
        _require_ready(service)
        config, quantizer = service.config, service.quantizer
        return ModelInfo(
            name=config.name,
            revision=config.revision,
            fingerprint=config.index_fingerprint(),
            width=config.width,
            query_top_k=config.query.top_k,
            document_top_k=config.document.top_k,
            query_scale=quantizer.query_scale,
            document_scale=quantizer.document_scale,
            opensearch_query_divisor=OPENSEARCH_QUERY_DIVISOR,
            config=config.to_dict(),
        )

    @app.get("/healthz")
    async def healthz() -> Status:
        """Whether the process answers at all."""
        return Status(status="ok")

    @app.get("/readyz", responses={503: {"model": Status}})
    async def readyz(response: Response) -> Status:
        """Whether texts should be sent here: not before the models are loaded, and not while shutting down."""
        if service.draining or not service.ready:
            response.status_code = 503
            return Status(status="draining" if service.draining else "loading")
        return Status(status="ready")

    @guarded.get("/metrics", response_class=_Exposition)
    async def metrics() -> Response:
        """Counters in Prometheus' text format."""
        return _Exposition(service.metrics.expose())

    app.include_router(guarded)
    return app


class _Exposition(Response):
    media_type = prometheus_client.CONTENT_TYPE_LATEST


def _add_encode(router: APIRouter, service: Service) -> None:
    schema = EncodeRequest.model_json_schema()
    limits = service.limits
    # In words: what is beyond them is answered 413, not 422.
    schema["properties"]["texts"]["description"] += (
        f" At most {limits.texts} texts of at most {limits.text_characters} characters."
    )

    @router.post(
        "/encode",
        response_model=list[dict[str, float]] | list[SparseArrays],
        # The body is read by hand: within its limit, and parsed once.
        openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}},
        responses=_problems(408, 409, 413, 422, 429, 500, 503),
    )
    async def encode(request: Request) -> Response:
        """Sparse weights of texts, in their order."""
        _require_ready(service)
        try:
            parsed = await read_request(request, service.limits)
            request.state.fields.update(content_type=parsed.content_type, texts=len(parsed.texts))
            return Response(await _encode(service, request, parsed), media_type="application/json")
        except ClientDisconnect:
            return Response(status_code=CLIENT_GONE)


async def _encode(service: Service, request: Request, parsed: EncodeRequest) -> str:
    if parsed.fingerprint not in (None, service.config.index_fingerprint()):
        raise HTTPException(
            409, f"this encoder runs {service.config.describe()}, not the model {parsed.fingerprint} that is asked for"
        )
    if parsed.side not in service.sides:
        raise HTTPException(
            422, f"this encoder is a table for queries of {service.config.name}; documents take the model itself"
        )
    try:
        job = service.submit(parsed.texts, parsed.side, parsed.top_k)
    except QueueFullError as full:
        raise HTTPException(
            429,
            f"the queue is full; try again in {full.retry_after} seconds",
            headers={"Retry-After": str(full.retry_after)},
        ) from None
    request.state.fields["tokens"] = job.tokens
    try:
        return render(await answer_or_gone(request, job.answer), parsed, service.quantizer)
    except InputError as error:
        # The texts were valid, so it is the model that cannot take them, or that made weights of no use.
        logger.error("the model failed: %s", error, extra={"fields": request.state.fields})
        raise HTTPException(500, str(error)) from None
    except MemoryError:
        raise HTTPException(
            503, "the device ran out of memory; send fewer texts", headers={"Retry-After": "1"}
        ) from None
    finally:
        service.discard(job)


def _require_ready(service: Service) -> None:
    if not service.ready:
        raise HTTPException(503, "the model is still being loaded", headers={"Retry-After": str(_NOT_READY_RETRY)})


class _Bearer(HTTPBearer):
    """Lets in who sends the token."""

    def __init__(self, token: str) -> None:
        super().__init__(
            auto_error=False, scheme_name="token", description="The token that the server was started with."
        )
        self._token = token

    async def __call__(self, request: Request) -> None:  # type: ignore[override]
        given = await super().__call__(request)
        if given is None or not token_matches(given.credentials, self._token):
            raise HTTPException(
                401, "send the server's token as Authorization: Bearer ...", headers={"WWW-Authenticate": "Bearer"}
            )


def _problems(*statuses: int) -> dict[int | str, Any]:
    return {status: {"model": Problem} for status in statuses}
