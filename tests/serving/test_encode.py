"""What ``POST /encode`` answers: the model's own impacts, in the order and form that were asked for."""

from __future__ import annotations

import pytest

from opensearch_splare.queries import query_tokens
from splare_plugins.config import SplareConfig
from splare_plugins.impacts import to_dicts
from tests.tiny import TEXTS


def documents(model, texts, **options):
    return to_dicts(model.quantizer.documents(model.encode_documents(texts, **options)).impacts)


def queries(model, texts):
    return model.quantizer.queries(model.encode_queries(texts)).impacts


@pytest.mark.parametrize("texts", [TEXTS, TEXTS[::-1], ["", *TEXTS, ""], [""], []])
def test_passages_equal_the_client_side_way(server, tiny, texts):
    answer = server.encode(texts)
    assert answer.status_code == 200
    assert answer.json() == documents(tiny, texts)
    assert all(type(weight) is int for row in answer.json() for weight in row.values())


def test_queries_equal_the_client_side_way(server, tiny):
    answer = server.encode(TEXTS, content_type="query").json()
    assert answer == query_tokens(queries(tiny, TEXTS))
    assert any(weight % 1 for row in answer for weight in row.values())


def test_an_empty_text_has_an_empty_map_in_its_place(server):
    assert [bool(row) for row in server.encode(["a", "", "b"]).json()] == [True, False, True]


@pytest.mark.parametrize("name", ["token_id", "TOKEN_ID"])
def test_token_ids(server, tiny, name):
    expected = [{term[1:]: impact for term, impact in row.items()} for row in documents(tiny, TEXTS)]
    assert server.encode(TEXTS, sparse_embedding_format=name).json() == expected


def test_arrays(server, tiny):
    expected = [
        {"indices": [int(term[1:]) for term in row], "values": list(row.values())} for row in documents(tiny, TEXTS)
    ]
    assert server.encode(TEXTS, sparse_embedding_format="arrays").json() == expected


def test_impacts_of_queries(server, tiny):
    answer = server.encode(TEXTS, content_type="query", weights="impact").json()
    assert answer == to_dicts(queries(tiny, TEXTS))


def test_floats(server, tiny):
    weights = tiny.encode_documents(TEXTS)
    answer = server.encode(TEXTS, weights="float", sparse_embedding_format="arrays").json()
    assert [value for row in answer for value in row["values"]] == weights.data.tolist()
    assert [index for row in answer for index in row["indices"]] == weights.indices.tolist()


@pytest.mark.parametrize("top_k", [1, 7.0, 4096])
def test_top_k(server, tiny, top_k):
    answer = server.encode(TEXTS, top_k=top_k).json()
    assert answer == documents(tiny, TEXTS, top_k=int(top_k))
    assert max(map(len, answer)) <= top_k


def test_a_long_text_is_cut_as_the_model_cuts_it(server, tiny):
    assert server.encode(["long " * 1000]).json() == documents(tiny, ["long " * 1000])


def test_model(server, tiny):
    facts = server.get("/model").json()
    assert facts["fingerprint"] == tiny.config.index_fingerprint()
    assert (facts["width"], facts["query_top_k"], facts["document_top_k"]) == (512, 20, 60)
    assert SplareConfig.from_dict(facts["config"]) == tiny.config


def test_only_the_model_that_is_asked_for_answers(server, tiny):
    fingerprint = tiny.config.index_fingerprint()
    assert server.encode(["a"], fingerprint=fingerprint).json() == server.encode(["a"]).json()
    refused = server.encode(["a"], fingerprint="another")
    assert refused.status_code == 409
    assert fingerprint in refused.json()["detail"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "body"),
        (b"[]", "body"),
        (b'{"texts": ["a"', "JSON"),
        (b"{}", "texts"),
        (b'{"texts": "a"}', "texts"),
        (b'{"texts": ["a", 1]}', "texts.1"),
        (b'{"texts": [null]}', "texts.0"),
        (b'{"texts": ["a"], "content_type": "document"}', "content_type"),
        (b'{"texts": ["a"], "sparse_embedding_format": "words"}', "sparse_embedding_format"),
        (b'{"texts": ["a"], "sparse_embedding_format": 1}', "sparse_embedding_format"),
        (b'{"texts": ["a"], "weights": "int"}', "weights"),
        (b'{"texts": ["a"], "top_k": 0}', "top_k"),
        (b'{"texts": ["a"], "top_k": true}', "top_k"),
        (b'{"texts": ["a"], "top_k": 1.5}', "top_k"),
        (b'{"texts": ["a"], "top_k": 1e400}', "top_k"),
        (b'{"texts": ["a"], "top_k": "5"}', "top_k"),
        (b'{"texts": ["a"], "top_k": 5000}', "top_k"),
        (b'{"texts": ["a"], "topk": 5}', "topk"),
        (b'{"texts": ["a \\ud800 b"]}', "one of a pair"),
        (b'{"texts": ["a \\ud800"]}', "one of a pair"),
        (b'{"texts": ["\xff"]}', "JSON"),
    ],
)
def test_bad_requests_are_one_sentence(server, body, words):
    import requests

    answer = requests.post(f"{server.url}/encode", data=body, timeout=20)
    assert answer.status_code == 422
    assert words in answer.json()["detail"]
    assert "\n" not in answer.json()["detail"]


def test_request_ids(server):
    given = server.get("/healthz", headers={"X-Request-Id": "from-the-client"})
    assert given.headers["X-Request-Id"] == "from-the-client"
    made = [server.get("/healthz", headers={"X-Request-Id": "not usable"}).headers["X-Request-Id"] for _ in range(2)]
    assert len(set(made)) == 2
    assert all(len(name) == 32 for name in made)
