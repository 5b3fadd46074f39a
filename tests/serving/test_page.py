"""What the search page asks of the server: the integers of the index, its limits, and a sentence for what is wrong."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import requests
from scipy.sparse import vstack

from splare_plugins.impacts import keep_largest
from splare_plugins.model.explanation import explain
from splare_plugins.serving.limits import Limits
from splare_plugins.serving.page import POLICY
from splare_plugins.steering import steer
from tests.serving.collection import QUERY, SCRIPT, TEXTS, build, opened
from tests.serving.conftest import running, wait_until
from tests.tiny import tiny_model


@pytest.fixture(scope="module")
def place(tiny, tmp_path_factory):
    place = tmp_path_factory.mktemp("page") / "index"
    build(tiny, place, TEXTS)
    return place


@pytest.fixture(scope="module")
def page(tiny, place):
    with running(lambda device: tiny, index=opened(place)) as client:
        yield client


def ask(client, path: str, **body: object) -> requests.Response:
    return requests.post(f"{client.url}/{path}", json={"query": QUERY, **body}, timeout=20)


def ranking(tiny, weights=None, query_top_k="model", document_top_k=None) -> list[tuple[str, int]]:
    """Ids and dot products, computed here, best first."""
    query = tiny.quantizer.queries(tiny.encode_queries([QUERY], top_k=query_top_k)).impacts
    weighed = [tiny.quantizer.documents(tiny.encode_documents([text])).impacts for text in TEXTS.values()]
    documents = keep_largest(vstack(weighed, format="csr"), document_top_k)
    products = (steer(query, weights).astype(np.int64) @ documents.astype(np.int64).T).toarray()[0]
    ranked = sorted(zip(TEXTS, products.tolist(), strict=True), key=lambda pair: -pair[1])
    return [pair for pair in ranked if pair[1] > 0]


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"steer": {"f1": 0, "f3": "@80"}},
        {"query_top_k": 5},
        {"document_top_k": 9, "steer": {"f3": "@200"}},
    ],
)
def test_a_search_gives_the_integers_of_the_index(page, tiny, how):
    plain = tiny.quantizer.queries(tiny.encode_queries([QUERY])).impacts
    off = f"f{plain.indices[plain.data.argmax()]}"
    how = {**how, "steer": {**how.get("steer", {}), off: 0}}
    told = ask(page, "search", k=100, **how).json()
    expected = ranking(tiny, how["steer"], how.get("query_top_k", "model"), how.get("document_top_k"))
    assert sorted((hit["docid"], hit["score"]) for hit in told["hits"]) == sorted(expected)
    assert [hit["score"] for hit in told["hits"]] == [score for _, score in expected]
    assert all(hit["text"] == TEXTS[hit["docid"]] for hit in told["hits"])
    latents = {each["term"]: each for each in told["latents"]}
    assert latents[off]["steered"] == 0 < latents[off]["impact"]
    if "f3" in how["steer"]:
        assert latents["f3"]["steered"] == int(str(how["steer"]["f3"])[1:])
    assert told["cost"]["query_latents"] == sum(each["steered"] > 0 for each in told["latents"])
    assert told["cost"]["postings"] > 0 and told["cost"]["impacts"] > 0


def test_an_explanation_is_that_of_the_library(page, tiny):
    weights = {"f3": "@80"}
    told = ask(page, "explain", docids=["fox", "zh"], steer=weights, top=5).json()
    for docid, each in zip(["fox", "zh"], told, strict=True):
        assert each == explain(tiny, QUERY, TEXTS[docid], docid=docid, weights=weights, top=5).to_dict()


def test_words_are_ranked_beside_latents_and_only_if_asked(page):
    assert ask(page, "search").json()["words"] is None
    told = requests.post(f"{page.url}/search", json={"query": "Fuchs 狐狸", "words": True}, timeout=20).json()
    assert {hit["docid"] for hit in told["words"]} == {"search", "zh"}
    assert all(hit["score"] > 0 and hit["text"] for hit in told["words"])
    nothing = requests.post(f"{page.url}/search", json={"query": "xyzzy", "words": True}, timeout=20).json()
    assert nothing["words"] == []


def test_what_the_page_is_told_of_the_index(page, tiny):
    facts = page.get("/index").json()
    assert facts["documents"] == len(TEXTS)
    assert (facts["query_top_k"], facts["document_top_k"]) == (20, 60)
    assert (facts["words"], facts["document_budget"]) == (True, True)
    assert facts["location"] == "index" and facts["width"] == tiny.config.width


def test_the_page_and_its_files_come_with_a_policy_and_nothing_else_comes(page):
    shown = page.get("/")
    assert shown.headers["Content-Type"].startswith("text/html")
    for name in ("page.css", "page.js", "view.js", "state.js", "server.js", "icon.svg"):
        file = page.get(f"/static/{name}")
        assert file.status_code == 200 and file.headers["Content-Security-Policy"] == POLICY
    for answer in (shown, ask(page, "search"), ask(page, "explain", docids=["fox"]), page.get("/index")):
        assert answer.headers["Content-Security-Policy"] == POLICY
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "unsafe" not in POLICY and "<script>" not in shown.text and "style=" not in shown.text
    for name in ("nothing.js", "../page.py", "%2e%2e/page.py", "index.html"):
        assert page.get(f"/static/{name}").status_code == 404


def test_an_export_is_a_page_that_stands_alone(page):
    answer = ask(page, "explanation.html", docids=["fox", f"markup{SCRIPT}"])
    assert answer.headers["Content-Disposition"] == 'attachment; filename="explanation.html"'
    assert answer.text.startswith("<!doctype html>") and "<script" not in answer.text
    assert "Why these documents" in answer.text
    assert "Why this document" in ask(page, "explanation.html", docids=["zh"]).text


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("search", {"steer": {"f512": 0}}, "there is no latent 'f512'"),
        ("search", {"steer": {"three": 0}}, "not a pseudo-term"),
        ("search", {"steer": {"f1": -1}}, "finite number of at least 0"),
        ("search", {"steer": {"f1": "80"}}, "such as @80"),
        ("search", {"steer": {"f1": None}}, "steer.f1"),
        ("search", {"query": None}, "query"),
        ("search", {"k": 0}, "k: "),
        ("search", {"k": 101}, "k: "),
        ("search", {"query_top_k": 0}, "query_top_k"),
        ("search", {"document_top_k": True}, "document_top_k"),
        ("search", {"nothing": 1}, "nothing"),
        ("explain", {}, "docids"),
        ("explain", {"docids": []}, "docids"),
        ("explain", {"docids": ["nobody"]}, "nothing but its score is known of the document 'nobody'"),
        ("explain", {"docids": ["fox"], "top": 0}, "top"),
    ],
)
def test_what_cannot_be_is_one_sentence(page, path, body, said):
    answer = ask(page, path, **body)
    assert answer.status_code == 422
    assert said in answer.json()["detail"] and "\n" not in answer.json()["detail"]


@pytest.mark.parametrize("factor", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_factor_that_is_no_number_is_refused(page, factor):
    body = f'{{"query": "fox", "steer": {{"f1": {factor}}}}}'
    answer = requests.post(f"{page.url}/search", data=body, timeout=20)
    assert answer.status_code == 422


def test_half_a_surrogate_pair_is_refused(page):
    answer = requests.post(f"{page.url}/search", data=b'{"query": "a \\ud800"}', timeout=20)
    assert answer.status_code == 422


def test_a_very_long_query_is_cut_and_told(page, tiny):
    told = ask(page, "search", query="fox " * 25_000).json()
    assert "longer than the model reads" in told["notes"][0] and told["hits"]
    assert ask(page, "explain", query="fox " * 25_000, docids=["fox"]).status_code == 200


def test_the_limits_of_the_service_hold(tiny, place):
    with running(lambda device: tiny, index=opened(place), limits=Limits(body_bytes=500, text_characters=7)) as client:
        assert ask(client, "search", query="x" * 600).status_code == 413
        one, other = (ask(client, "search", query=query).json() for query in ("the fox", "the fox and more"))
        assert one["hits"] == other["hits"]


def test_more_searches_than_wait_are_sent_away(tiny, place, monkeypatch):
    monkeypatch.setattr("splare_plugins.serving.watched._MOST_WAITING", 1)
    index = opened(place)
    with running(lambda device: tiny, index=index) as client:
        gate = threading.Event()
        held = index.submit(lambda _: gate.wait(20))
        refused = ask(client, "search")
        assert refused.status_code == 429 and refused.headers["Retry-After"] == "1"
        gate.set()
        assert held.result()
        assert ask(client, "search").status_code == 200


def test_a_token_is_asked_for_by_all_but_the_empty_page(tiny, place):
    with running(lambda device: tiny, index=opened(place), token="secret") as client:
        assert client.get("/").status_code == client.get("/static/page.js").status_code == 200
        assert client.get("/model-state").json() == {"status": "ready"}
        for path in ("search", "explain", "explanation.html"):
            assert ask(client, path, docids=["fox"]).status_code == 401
        assert client.get("/index").status_code == 401
        headers = {"Authorization": "Bearer secret"}
        answer = requests.post(f"{client.url}/search", json={"query": QUERY}, headers=headers, timeout=20)
        assert answer.status_code == 200


def test_while_the_model_is_loading(tiny, place):
    gate = threading.Event()

    def load(device: str):
        assert gate.wait(20)
        return tiny

    with running(load, ready=False, index=opened(place)) as client:
        assert client.get("/model-state").json() == {"status": "loading"}
        assert client.get("/").status_code == 200
        answer = ask(client, "search")
        assert answer.status_code == 503 and "still being loaded" in answer.json()["detail"]
        gate.set()
        wait_until(lambda: client.service.ready)
        assert ask(client, "search").status_code == 200


def test_an_index_that_was_replaced_is_opened_anew(tiny, tmp_path):
    place = tmp_path / "index"
    build(tiny, place, {"old": "the quick fox", "both": "a dog"})
    texts = {"old": "the quick fox", "both": "a dog", "new": "the quick fox of another index"}
    with running(lambda device: tiny, index=opened(place, texts)) as client:
        before = ask(client, "search").json()
        build(tiny, place, {"new": texts["new"], "both": "a dog"})
        told = ask(client, "explain", docids=["old"], version=before["version"])
        assert told.status_code == 409 and "replaced" in told.json()["detail"]
        after = ask(client, "search", words=True).json()
        assert {hit["docid"] for hit in before["hits"]} == {"old", "both"}
        assert {hit["docid"] for hit in after["hits"]} == {"new", "both"}
        assert after["version"] != before["version"]
        # One of another model is not searched with this one's queries.
        build(tiny_model(seed=1), place, {"other": "fox"})
        refused = ask(client, "search")
        assert refused.status_code == 409 and "start the server again" in refused.json()["detail"]
        assert refused.json()["detail"].count("seed-") == 2


def test_an_index_without_texts_shows_what_it_has(tiny, place):
    with running(lambda device: tiny, index=opened(place, texts=None)) as client:
        facts = client.get("/index").json()
        assert facts["words"] is False
        told = ask(client, "search", words=True).json()
        assert told["words"] is None and {hit["text"] for hit in told["hits"]} == {None}
        (explained,) = ask(client, "explain", docids=["fox"]).json()
        assert explained["score"] == explain(tiny, QUERY, TEXTS["fox"]).score
        assert "not at hand" in explained["notes"][0]


@pytest.mark.java
def test_lucene_gives_its_stored_texts_for_both_rankings(tiny, tmp_path):
    build(tiny, tmp_path / "index", TEXTS, "lucene", store_text=True)
    with running(lambda device: tiny, index=opened(tmp_path / "index", None, "lucene")) as client:
        facts = client.get("/index").json()
        assert (facts["words"], facts["document_budget"]) == (True, False)
        told = ask(client, "search", words=True, k=100).json()
        assert [hit["score"] for hit in told["hits"]] == [score for _, score in ranking(tiny)]
        assert all(hit["text"] == TEXTS[hit["docid"]] for hit in told["hits"] + told["words"])
        assert told["words"] and told["cost"]["postings"] > 0
        assert ask(client, "explain", docids=["fox"]).json()[0]["document"] == TEXTS["fox"]
        narrower = ask(client, "search", document_top_k=5)
        assert narrower.status_code == 422 and "index anew with --top-k" in narrower.json()["detail"]
