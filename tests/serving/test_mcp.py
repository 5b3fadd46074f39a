"""``splare mcp`` by the SDK's own client: in this process, over stdio, and over HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from splare_plugins.cli.app import main
from splare_plugins.engines import get_engine
from splare_plugins.retrieval.explain import compare, explain
from splare_plugins.serving.limits import ServerOptions
from splare_plugins.serving.listening import listen
from splare_plugins.serving.mcp_server import PATH, build, http_server, stdout_for_the_protocol
from splare_plugins.serving.tools import Library
from splare_plugins.serving.watched import WatchedIndex
from tests.serving.collection import build as build_index
from tests.serving.conftest import wait_until
from tests.tiny import TEXTS, random_table, tiny_model

QUERY = "the quick fox"
DOCUMENTS = {f"d{number}": text for number, text in enumerate(TEXTS)}
Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def index(tiny, tmp_path_factory) -> Path:
    """In memory, without texts."""
    folder = tmp_path_factory.mktemp("mcp") / "index"
    build_index(tiny, folder, DOCUMENTS)
    return folder


def opened(tiny, index: Path, texts: dict[str, str] | None = None) -> Library:
    watched = WatchedIndex(str(index), lambda: get_engine("memory").searcher(str(index)), texts=texts)
    return Library(watched, lambda _: tiny)


@pytest.fixture(scope="module")
def library(tiny, index) -> Iterator[Library]:
    made = opened(tiny, index, DOCUMENTS)
    yield made
    made.index.close()


def test_a_table_answers_without_its_model(tiny, index) -> None:
    table = random_table(tiny)
    watched = WatchedIndex(str(index), lambda: get_engine("memory").searcher(str(index)), texts=DOCUMENTS)
    library = Library(watched, lambda _: table)
    try:
        ask = asking(library)
        best = ask("search", query=QUERY)["results"][0]
        told = ask("explain", query=QUERY, docid=best["docid"])
        impacts = table.quantizer.queries(table.encode_queries([QUERY])).impacts
        documents = tiny.quantizer.documents(tiny.encode_documents(TEXTS)).impacts
        assert best["score"] == told["score"] == (impacts @ documents.T).toarray().max()
        assert best["evidence"][0]["document_words"] and "table of tokens" in " ".join(told["notes"])
        assert "documents take the full one" in ask("latents", text="a fox", side="document")
    finally:
        library.index.close()


@pytest.fixture(scope="module")
def ask(library) -> Ask:
    return asking(library)


def asking(library: Library) -> Ask:
    """Call a tool of a server in this process: what it answers, or the sentence with which it refuses."""

    async def call(tool: str, arguments: dict[str, Any]) -> Any:
        async with Client(build(library)) as client:
            return told(await client.call_tool(tool, arguments))

    return lambda tool, **arguments: asyncio.run(call(tool, arguments))


def told(answer: Any) -> Any:
    if answer.is_error:
        return answer.content[0].text
    content = answer.structured_content
    return content["result"] if set(content) == {"result"} else content


async def tools_of(client: Client) -> dict[str, Any]:
    return {tool.name: tool for tool in (await client.list_tools()).tools}


def test_the_tools_say_what_they_take(library):
    async def listed() -> tuple[dict[str, Any], str]:
        async with Client(build(library)) as client:
            return await tools_of(client), client.instructions or ""

    tools, instructions = asyncio.run(listed())
    assert tools.keys() == {"search", "explain", "latents"}
    assert "5 documents, encoded by tiny" in instructions
    for tool in tools.values():
        assert tool.annotations.read_only_hint and tool.output_schema
        assert all(each["description"] for each in tool.input_schema["properties"].values()), tool.name
    assert tools["explain"].input_schema["required"] == ["query", "docid"]


def test_a_search_has_ids_texts_scores_and_evidence(ask, tiny):
    found = ask("search", query=QUERY, k=3, text_characters=10)
    assert [each["rank"] for each in found["results"]] == [1, 2, 3]
    assert found["notes"] == []
    for each in found["results"]:
        whole = explain(tiny, QUERY, DOCUMENTS[each["docid"]], top=3)
        assert each["score"] == whole.score
        assert each["text"] == DOCUMENTS[each["docid"]][:10] and each["cut"] == (len(DOCUMENTS[each["docid"]]) > 10)
        for row, match in zip(each["evidence"], whole.matches, strict=True):
            assert (row["latent"], row["contribution"]) == (match.term, match.contribution)
            assert row["document_words"][0] == next(firing.word for firing in match.document_words if firing.word)
    bare = ask("search", query=QUERY, k=3, evidence=0)
    assert [(each["docid"], each["score"]) for each in bare["results"]] == [
        (each["docid"], each["score"]) for each in found["results"]
    ]
    assert all(each["evidence"] == [] for each in bare["results"])


def test_steering_changes_a_search_and_an_explanation_as_the_integers_say(ask, tiny):
    plain = ask("explain", query=QUERY, docid="d0", latents=400)
    first, second = plain["evidence"][:2]
    weights = {first["latent"]: 0, second["latent"]: "@200"}
    steered = ask("explain", query=QUERY, docid="d0", latents=400, weights=weights)
    wanted = explain(tiny, QUERY, DOCUMENTS["d0"], weights=weights)
    assert steered["score"] == wanted.score != plain["score"]
    assert first["latent"] not in {each["latent"] for each in steered["evidence"]}
    (best,) = ask("search", query=QUERY, k=1, weights=weights)["results"]
    assert best["score"] == explain(tiny, QUERY, DOCUMENTS[best["docid"]], weights=weights).score
    few = ask("explain", query=QUERY, docid="d0", latents=400, query_latents=3)
    assert few["shared_latents"] <= 3 < plain["shared_latents"]


def test_an_explanation_adds_up_and_names_what_is_missing(ask):
    whole = ask("explain", query=QUERY, docid="d1", latents=400)
    assert sum(each["contribution"] for each in whole["evidence"]) == whole["score"] > 0
    assert len(whole["evidence"]) == whole["shared_latents"]
    query = ask("latents", text=QUERY, top=400)
    both = [each["latent"] for each in whole["evidence"] + whole["missing"]]
    assert sorted(both) == sorted(each["latent"] for each in query)


@pytest.mark.parametrize("docids", [("d0", "d1"), ("d1", "d0"), ("d2", "d2")])
def test_two_documents_are_told_apart(ask, tiny, docids):
    one, other = docids
    given = {"query": QUERY, "weights": {"f3": "@80"}}
    told = ask("explain", **given, docid=one, against=other, latents=4)
    texts = (DOCUMENTS[one], DOCUMENTS[other])
    wanted = compare(tiny, QUERY, texts, docids=docids, top=4, weights=given["weights"])
    compared = told["comparison"]
    assert (compared["above"], compared["below"]) == (wanted.above.docid, wanted.below.docid)
    assert compared["difference"] == wanted.above.score - wanted.below.score
    # Each of the two is explained as it is alone.
    for each, docid in ((told, one), (compared["against"], other)):
        assert {**each, "comparison": None} == ask("explain", **given, docid=docid, latents=4)
    rows = [(each["latent"], each["above"], each["below"], each["difference"]) for each in compared["differences"]]
    assert rows == [(row.term, row.above, row.below, row.difference) for row in wanted.differences[:4]]
    assert compared["differing_latents"] == len(wanted.differences) > len(rows)
    whole = ask("explain", **given, docid=one, against=other, latents=400)["comparison"]
    assert sum(each["difference"] for each in whole["differences"]) == whole["difference"] == compared["difference"]


def test_latents_of_a_text_and_by_id(ask, tiny):
    for side in ("query", "document"):
        found = ask("latents", text=TEXTS[1], side=side, top=5)
        impacts = tiny.quantizer.quantize(tiny.encode([TEXTS[1]], side), side).impacts
        assert [each["impact"] for each in found] == sorted(impacts.data.tolist(), reverse=True)[:5]
        assert all(impacts[[0], [int(each["latent"][1:])]][0] == each["impact"] for each in found)
        assert all(set(each["words"]) <= {*TEXTS[1].split(), *TEXTS[1][:-1].split(), "."} for each in found)
    assert ask("latents", ids=["f7", "f511"]) == [
        {"latent": "f7", "label": "f7", "impact": None, "words": []},
        {"latent": "f511", "label": "f511", "impact": None, "words": []},
    ]


@pytest.mark.parametrize(
    ("tool", "arguments", "sentence"),
    [
        ("search", {"query": ""}, "the query is empty"),
        ("search", {"query": " \n"}, "the query is empty"),
        ("search", {"query": "x" * 100_000}, "the query has 100,000 characters; shorten it to at most 20,000"),
        ("search", {"query": QUERY, "k": 0}, "k must be from 1 to 100, not 0"),
        ("search", {"query": QUERY, "k": 10**9}, "k must be from 1 to 100, not 1,000,000,000"),
        ("search", {"query": QUERY, "k": "many"}, "k"),
        ("search", {"query": QUERY, "evidence": -1}, "evidence must be from 0 to 400"),
        ("search", {"query": QUERY, "text_characters": -1}, "text_characters must be from 0"),
        ("search", {"query": QUERY, "query_latents": 0}, "query_latents must be from 1 to 512"),
        ("search", {"query": QUERY, "weights": {"f512": 0}}, "there is no latent 'f512'; this model has f0 to f511"),
        ("search", {"query": QUERY, "weights": {"fox": 0}}, "fox"),
        ("search", {"query": QUERY, "weights": {"f1": -1}}, "the factor of f1 must be a finite number"),
        ("search", {"query": QUERY, "weights": {"f1": "80"}}, "the impact of f1 must be @"),
        ("search", {}, "query"),
        ("explain", {"query": QUERY, "docid": "d99"}, "there is no document 'd99'"),
        ("explain", {"query": QUERY, "docid": "d1", "against": "d99"}, "there is no document 'd99'"),
        ("explain", {"query": "", "docid": "d1"}, "the query is empty"),
        ("explain", {"query": QUERY, "docid": "d1", "latents": 0}, "latents must be from 1 to 400"),
        ("latents", {}, "give either text or ids"),
        ("latents", {"text": "a", "ids": ["f1"]}, "give either text or ids"),
        ("latents", {"text": ""}, "the text is empty"),
        ("latents", {"text": "a", "side": "title"}, "side must be query or document, not 'title'"),
        ("latents", {"ids": ["f512"]}, "there is no latent f512; this model has f0 to f511"),
        ("latents", {"ids": ["seven"]}, "seven"),
        ("latents", {"ids": []}, "the number of latents must be from 1"),
    ],
)
def test_bad_input_is_a_sentence_and_the_server_goes_on(ask, tool, arguments, sentence):
    said = ask(tool, **arguments)
    assert isinstance(said, str) and said.startswith(f"Error executing tool {tool}: ")
    assert sentence in said and "Traceback" not in said
    assert ask("latents", ids=["f1"])[0]["latent"] == "f1"


def test_an_index_without_texts_gives_what_it_has(tiny, index):
    library = opened(tiny, index)
    try:
        ask = asking(library)
        for each in ask("search", query=QUERY, k=2)["results"]:
            assert each["text"] is None and not each["cut"]
            assert "not at hand" in each["notes"][0]
            assert (
                each["evidence"] and each["evidence"][0]["query_words"] and not each["evidence"][0]["document_words"]
            )
        assert "'d99'" in ask("explain", query=QUERY, docid="d99")
    finally:
        library.index.close()


def test_an_index_that_is_replaced_while_a_client_is_connected(tiny, tmp_path):
    place = tmp_path / "index"
    texts = {"old": "the quick fox", "new": "a quick fox of another index", "other": "fox"}
    build_index(tiny, place, {"old": texts["old"]})
    library = opened(tiny, place, texts)

    async def use() -> None:
        async with Client(build(library)) as client:

            async def call(tool: str, **arguments: Any) -> Any:
                return told(await client.call_tool(tool, {"query": QUERY, **arguments}))

            async def found() -> list[tuple[str, str]]:
                return [(each["docid"], each["text"]) for each in (await call("search"))["results"]]

            assert await found() == [("old", texts["old"])]
            build_index(tiny, place, {"new": texts["new"]})
            assert await found() == [("new", texts["new"])]
            assert (await call("explain", docid="new"))["score"] == explain(tiny, QUERY, texts["new"]).score
            # One of another model is refused until one of this model stands there again.
            build_index(tiny_model(seed=1), place, {"other": texts["other"]})
            for refused in (await call("search"), await call("explain", docid="new")):
                assert "start the server again for the new one" in refused and refused.count("seed-") == 2
            build_index(tiny, place, {"old": texts["old"]})
            assert await found() == [("old", texts["old"])]

    try:
        asyncio.run(use())
    finally:
        library.index.close()


def test_an_index_that_no_longer_names_its_model_is_refused(tiny, tmp_path):
    place = tmp_path / "index"
    build_index(tiny, place, DOCUMENTS)
    library = opened(tiny, place, DOCUMENTS)
    try:
        ask = asking(library)
        assert ask("search", query=QUERY)["results"]
        with get_engine("memory").writer(str(place), None, overwrite=True) as writer:
            writer.add(["d0"], tiny.quantizer.documents(tiny.encode_documents([TEXTS[0]])).impacts)
        assert "does not name its model, unlike the one before; start the server again" in ask("search", query=QUERY)
    finally:
        library.index.close()


def test_what_cannot_be_opened_is_said_before_a_server_starts(tiny_folder, tmp_path, capfd):
    def refusal(*words: object) -> str:
        with pytest.raises(SystemExit) as stop:
            main(["mcp", *map(str, words)])
        captured = capfd.readouterr()
        assert (stop.value.code, captured.out) == (2, "")
        return " ".join(captured.err.split())

    assert str(tmp_path / "none") in refusal("--index", tmp_path / "none")
    assert "is a model, not an index" in refusal("--index", tiny_folder)
    assert "--port is for a server over HTTP; add --http" in refusal("--index", tmp_path, "--port", 1)


def test_nothing_else_is_written_where_the_protocol_goes(capfd):
    with stdout_for_the_protocol():
        print("a library")  # noqa: T201
        os.write(1, b"a library in C\n")
    print("after")  # noqa: T201
    captured = capfd.readouterr()
    assert captured.out == "after\n"
    assert captured.err == "a library in C\na library\n" or captured.err == "a library\na library in C\n"


@pytest.mark.slow
def test_over_stdio(tiny_folder, index, tmp_path):
    """By the program, whose every line on standard output is kept."""
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(json.dumps({"id": key, "text": text}) + "\n" for key, text in DOCUMENTS.items()))
    words = [
        "-m",
        "splare_plugins",
        "mcp",
        "--index",
        str(index),
        "--model",
        str(tiny_folder),
        "--corpus",
        str(corpus),
    ]
    lines = tmp_path / "lines"
    command = ["-c", 'out=$1; shift; "$@" | tee "$out"', "sh", str(lines), sys.executable, *words]
    server = StdioServerParameters(command="sh", args=command, env=dict(os.environ))

    async def use() -> tuple[Any, ...]:
        async with Client(server) as client:
            first = told(await client.call_tool("search", {"query": QUERY, "k": 1}))
            return (
                await tools_of(client),
                first,
                told(await client.call_tool("explain", {"query": QUERY, "docid": first["results"][0]["docid"]})),
                told(await client.call_tool("search", {"query": ""})),
            )

    tools, found, explained, refused = asyncio.run(use())
    assert tools.keys() == {"search", "explain", "latents"}
    assert explained["score"] == found["results"][0]["score"] > 0
    assert found["results"][0]["text"] == DOCUMENTS[found["results"][0]["docid"]]
    assert "the query is empty" in refused
    answers = [json.loads(line) for line in lines.read_text().splitlines()]
    assert len(answers) >= 4 and all(answer["jsonrpc"] == "2.0" for answer in answers)


def test_over_http_with_a_token(library):
    options = ServerOptions(token="sesame", port=0)
    server = http_server(library, options)
    with listen(options.host, 0) as listener:
        port = listener.getsockname()[1]
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            wait_until(lambda: server.started)
            url = f"http://127.0.0.1:{port}{PATH}"
            found = asyncio.run(over_http(url, {"Authorization": "Bearer sesame"}, search_once))
            assert len(found["results"]) == 2
            for given in ({}, {"Authorization": "Bearer open"}, {"Authorization": "sesame"}):
                answer = httpx2.post(url, json={}, headers=given)
                assert answer.status_code == 401 and "Authorization: Bearer" in answer.json()["detail"]
            asked = {"Authorization": "Bearer sesame", "Accept": "application/json, text/event-stream"}
            # A page of another site that has its name resolved to this machine.
            assert httpx2.post(url, json={}, headers={**asked, "Host": "evil.example"}).status_code == 421
            assert httpx2.post(url, json={}, headers={**asked, "Origin": "http://evil.example"}).status_code == 403
            assert httpx2.post(url, content=b"x" * (5 << 20), headers=asked).status_code in (400, 413)
        finally:
            server.should_exit = True
            thread.join(30)
    assert not thread.is_alive()


async def search_once(client: Client) -> Any:
    return told(await client.call_tool("search", {"query": QUERY, "k": 2}))


async def over_http(url: str, headers: dict[str, str], use: Callable[[Client], Awaitable[Any]]) -> Any:
    async with (
        httpx2.AsyncClient(headers=headers) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        return await use(client)
