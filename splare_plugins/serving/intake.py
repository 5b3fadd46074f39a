"""From a client's bytes to a request within bounds; and noticing when the client is gone."""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import Future
from typing import Any, TypeVar

from fastapi import HTTPException, Request
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect

from splare_plugins.serving.limits import Limits
from splare_plugins.serving.schemas import EncodeRequest

Answer = TypeVar("Answer")
Form = TypeVar("Form", bound=BaseModel)

# A client that is still sending sees a closed connection, not our 413; so a little more than the limit is read on.
_READ_ON = 4
# Otherwise the server would go on to read, and throw away, whatever still comes.
_HANG_UP = {"Connection": "close"}


async def read_request(request: Request, limits: Limits) -> EncodeRequest:
    """The request to encode texts, checked.

    Raises:
        HTTPException: 408, 413 or 422, with one sentence.
    """
    parsed = await read_model(request, limits, EncodeRequest)
    if len(parsed.texts) > limits.texts:
        raise HTTPException(
            413, f"{len(parsed.texts)} texts are more than the {limits.texts} of a request; send fewer"
        )
    texts = parsed.texts if parsed.brace_escape is None else _unescaped(parsed.texts, parsed.brace_escape)
    return parsed.model_copy(update={"texts": [text[: limits.text_characters] for text in texts]})


async def read_model(request: Request, limits: Limits, form: type[Form]) -> Form:
    """The request's body as ``form`` has it.

    Raises:
        HTTPException: 408, 413 or 422, with one sentence.
    """
    try:
        async with asyncio.timeout(limits.body_seconds):
            body = await _read_body(request, limits.body_bytes)
    except TimeoutError:
        raise HTTPException(
            408, f"the body did not arrive within {limits.body_seconds:g} seconds", headers=_HANG_UP
        ) from None
    try:
        return form.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "body"
        hint = "; an escape from \\ud800 to \\udfff must be one of a pair" if "hex escape" in first["msg"] else ""
        raise HTTPException(422, f"{where}: {first['msg']}{hint}") from None


def _unescaped(texts: list[str], sign: str) -> list[str]:
    """Texts without the signs before braces; a doubled sign is one that the text has."""
    sign = re.escape(sign)
    escape = re.compile(f"{sign}({sign}|(?={{))")
    return [escape.sub(r"\1", text) for text in texts]


async def answer_or_gone(request: Request, answer: Future[Answer]) -> Answer:
    """Wait for an answer for as long as the client does.

    Raises:
        ClientDisconnect: if the client went away first.
    """
    waiting = asyncio.wrap_future(answer)
    gone = asyncio.create_task(_disconnected(request))
    try:
        either: set[asyncio.Future[Any]] = {waiting, gone}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            raise ClientDisconnect
        return waiting.result()
    finally:
        gone.cancel()
        waiting.cancel()


async def _read_body(request: Request, most: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= most:
            chunks.append(chunk)
        if size > _READ_ON * most:
            break
    if size > most:
        raise HTTPException(
            413, f"the body is larger than {most} bytes; send fewer or shorter texts", headers=_HANG_UP
        )
    return b"".join(chunks)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
