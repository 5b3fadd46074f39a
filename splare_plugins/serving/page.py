"""The search page and what it asks: ``/`` and its files, ``/index``, ``/search``, ``/explain`` and its export."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from scipy.sparse import csr_array
from starlette.requests import ClientDisconnect

from splare_plugins.errors import IdentityError, InputError, SplareError
from splare_plugins.impacts import latent_id
from splare_plugins.model.explanation import Explainer, Explanation, RankingExplanation
from splare_plugins.serving.intake import answer_or_gone, read_model
from splare_plugins.serving.middleware import CLIENT_GONE
from splare_plugins.serving.queue import QueueFullError
from splare_plugins.serving.schemas import MAX_TOP_K, Status
from splare_plugins.serving.searching import IndexReplacedError, SearchIndex, hit_list, scores
from splare_plugins.serving.service import Service
from splare_plugins.serving.watched import SearchBusyError
from splare_plugins.steering import steer

if TYPE_CHECKING:  # torch
    from splare_plugins.model.encoder import Encoder

Answer = TypeVar("Answer")
Form = TypeVar("Form", bound="SearchRequest")
Work = Callable[[Request, Form], Awaitable[Response]]
PATHS = ("/", "/index", "/search", "/explain", "/explanation.html")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
_KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_ASSETS = ("page.css", "page.js", "state.js", "server.js", "view.js", "icon.svg")
_MOST_HITS = 100
_QUERIES_KEPT = 64


class SearchRequest(BaseModel):
    """A query, and how it is changed."""

    model_config = ConfigDict(extra="forbid", strict=True)

    query: str
    k: int = Field(10, ge=1, le=_MOST_HITS, description="Most documents.")
    steer: dict[str, float | str] = Field(
        default_factory=dict, max_length=MAX_TOP_K, description='Latents of the query: `{"f7336": 0, "f12": "@80"}`.'
    )
    query_top_k: int | None = Field(None, ge=1, le=MAX_TOP_K, description="Latents of the query; null: the model's.")
    document_top_k: int | None = Field(None, ge=1, le=MAX_TOP_K, description="Of a document; null: all indexed.")
    words: bool = Field(False, description="Rank by BM25 too.")


class ExplainRequest(SearchRequest):
    """Likewise, and documents to be explained."""

    docids: list[str] = Field(min_length=1, max_length=_MOST_HITS)
    top: int = Field(10, ge=1, le=MAX_TOP_K, description="Most latents of each.")
    version: str | None = Field(None, description="Of the index, as `/search` said it; another one answers 409.")


class Asked(NamedTuple):
    """A query as the model reads it, before it is steered."""

    impacts: csr_array
    latents: list[dict[str, Any]]
    notes: list[str]


def static_routes(service: Service) -> APIRouter:
    """The page's own files, and whether it may ask; they hold nothing, so they need no token."""
    router = APIRouter(include_in_schema=False)
    folder = files("splare_plugins.serving") / "static"

    def answer(name: str) -> Response:
        kind = _KINDS[name.rpartition(".")[2]]
        return Response((folder / name).read_bytes(), media_type=kind, headers=_HEADERS)

    @router.get("/")
    async def page() -> Response:
        return answer("index.html")

    @router.get("/model-state")
    async def state() -> Status:
        return Status(status="ready" if service.ready else "loading")

    @router.get("/static/{name}")
    async def asset(name: str) -> Response:
        if name not in _ASSETS:
            raise HTTPException(404, "there is no such file")
        return answer(name)

    return router


class SearchRoutes:
    """What the page asks.

    Args:
        service: its models encode queries, and say on which words latents fired.
        index: what is searched.
    """

    def __init__(self, service: Service, index: SearchIndex) -> None:
        self._service, self._index = service, index
        self._asked: OrderedDict[tuple[str, int | None], Asked] = OrderedDict()

    def add_to(self, router: APIRouter) -> None:
        """Add the routes to the guarded ones."""
        router.get("/index")(self._guarded_facts)
        self._post(router, "/search", SearchRequest, self._search)
        self._post(router, "/explain", ExplainRequest, self._explain)
        self._post(router, "/explanation.html", ExplainRequest, self._export)

    def _post(self, router: APIRouter, path: str, form: type[Form], work: Work[Form]) -> None:
        async def answer(request: Request) -> Response:
            async def run(request: Request) -> Response:
                asked = await read_model(request, self._service.limits, form)
                most = self._service.limits.text_characters
                return await work(request, asked.model_copy(update={"query": asked.query[:most]}))

            return await _guard(request, self._service, run)

        schema = {"required": True, "content": {"application/json": {"schema": form.model_json_schema()}}}
        # The body is read by hand, as that of /encode.
        router.post(path, openapi_extra={"requestBody": schema}, name=path.strip("/"))(answer)

    async def _guarded_facts(self, request: Request) -> Response:
        """What the index holds, and what a page can offer."""
        return await _guard(request, self._service, self._facts)

    async def _facts(self, request: Request) -> Response:
        config = self._service.config
        facts = await asyncio.wrap_future(self._index.facts())
        model = {"model": config.describe(), "width": config.width, "query_top_k": config.query.top_k}
        return JSONResponse({**facts, **model}, headers=_HEADERS)

    async def _search(self, request: Request, asked: SearchRequest) -> Response:
        query = await self._query(request, asked)
        steered = steer(query.impacts, asked.steer)
        found = await answer_or_gone(
            request,
            self._index.search(steered, asked.query, asked.k, document_top_k=asked.document_top_k, words=asked.words),
        )
        now = dict(zip(steered.indices.tolist(), steered.data.tolist(), strict=True))
        latents = [{**each, "steered": now.get(latent_id(each["term"]), 0)} for each in query.latents]
        there = {each["term"] for each in latents}
        put_in = [term for term in asked.steer if latent_id(term) in now and term not in there]
        names = await self._names(request, put_in)
        latents += [
            {"term": term, "name": name, "impact": 0, "words": [], "steered": now[latent_id(term)]}
            for term, name in zip(put_in, names, strict=True)
        ]
        cost = {
            "milliseconds": round(1000 * found.seconds, 2),
            "query_latents": steered.nnz,
            "postings": found.postings,
            "impacts": found.impacts,
        }
        words = None if found.words is None else hit_list(found.words, found.texts)
        answer = {"latents": latents, "hits": hit_list(scores(found.hits), found.texts), "words": words}
        rest = {"cost": cost, "version": found.version, "notes": query.notes}
        return JSONResponse({**answer, **rest}, headers=_HEADERS)

    async def _explain(self, request: Request, asked: ExplainRequest) -> Response:
        told = await self._told(request, asked)
        return JSONResponse([each.to_dict() for each in told], headers=_HEADERS)

    async def _export(self, request: Request, asked: ExplainRequest) -> Response:
        told = await self._told(request, asked)
        page = RankingExplanation(query=asked.query, documents=told).to_html() if len(told) > 1 else told[0].to_html()
        named = {"Content-Disposition": 'attachment; filename="explanation.html"'}
        return Response(page, media_type="text/html", headers={**_HEADERS, **named})

    async def _told(self, request: Request, asked: ExplainRequest) -> list[Explanation]:
        known = await answer_or_gone(request, self._index.known(asked.docids, asked.version, asked.document_top_k))
        config = self._index.config
        indexed = config.document.top_k if config else None

        def work(model: Encoder) -> list[Explanation]:
            explainer = Explainer(
                model,
                asked.query,
                top=asked.top,
                query_top_k=asked.query_top_k or "model",
                document_top_k=asked.document_top_k or indexed,
                weights=asked.steer,
            )
            pairs = zip(asked.docids, known, strict=True)
            return [explainer(text, docid=docid, impacts=impacts) for docid, (text, impacts) in pairs]

        return await self._by_model(request, work, [asked.query, *(text or "" for text, _ in known)])

    async def _query(self, request: Request, asked: SearchRequest) -> Asked:
        """The query as the model reads it; the last ones are kept, so that steering waits for no model."""
        key = (asked.query, asked.query_top_k)
        if key not in self._asked:
            work = partial(_ask, query=asked.query, top_k=asked.query_top_k)
            self._asked[key] = await self._by_model(request, work, [asked.query])
            while len(self._asked) > _QUERIES_KEPT:
                self._asked.popitem(last=False)
        self._asked.move_to_end(key)
        return self._asked[key]

    async def _names(self, request: Request, terms: list[str]) -> list[str]:
        if not terms:
            return []
        return await self._by_model(request, lambda model: [model.head.name(latent_id(each)) for each in terms], [])

    async def _by_model(self, request: Request, work: Callable[[Encoder], Answer], texts: list[str]) -> Answer:
        task = self._service.submit_work(work, texts)
        try:
            return await answer_or_gone(request, task.answer)
        finally:
            self._service.discard(task)


def _ask(model: Encoder, *, query: str, top_k: int | None) -> Asked:
    explainer = Explainer(model, query, top=None, query_top_k=top_k or "model")
    latents = [
        {"term": each.term, "name": each.name, "impact": each.query_impact, "words": each.to_dict()["query_words"]}
        for each in explainer.latents()
    ]
    return Asked(explainer.impacts, latents, explainer.notes)


async def _guard(request: Request, service: Service, work: Callable[[Request], Awaitable[Response]]) -> Response:
    """Whatever goes wrong, as a status and a sentence."""
    if not service.ready:
        raise HTTPException(503, "the model is still being loaded", headers={"Retry-After": "5"})
    try:
        return await work(request)
    except ClientDisconnect:
        return Response(status_code=CLIENT_GONE)
    except IndexReplacedError:
        raise HTTPException(409, "the index was replaced meanwhile; search again") from None
    except IdentityError as error:
        raise HTTPException(409, str(error)) from None
    except (QueueFullError, SearchBusyError) as full:
        seconds = str(getattr(full, "retry_after", 1))
        raise HTTPException(
            429, f"the queue is full; try again in {seconds} seconds", headers={"Retry-After": seconds}
        ) from None
    except UnicodeEncodeError:
        raise HTTPException(422, "the query is not valid Unicode: it has half of a surrogate pair") from None
    except InputError as error:
        raise HTTPException(422, str(error)) from None
    except SplareError as error:
        raise HTTPException(500, str(error)) from None
    except MemoryError:
        raise HTTPException(503, "the device ran out of memory; try again", headers={"Retry-After": "1"}) from None
