"""A deployed pipeline encodes texts, one by one as far as errors go, and leaves everything else as it came."""

from __future__ import annotations

import random
from typing import Any

import pytest

from opensearch_splare import SplareIndex
from splare_plugins.corpus import Document
from splare_plugins.serving.limits import Limits

from .deploying import bulk, clean, deployed, encoder, scores

pytestmark = pytest.mark.java

WORDS = ["bees", "", " x ", "Über", "蜜蜂", '"quoted"', "line\nbreak", "\\", "${parameters.input}", "\ue000{"]
NAMES = ["a", "b", "a.b", "tags.0", "Ü", "title2", "splare_rest", "splare_texts", "splare_content", "with space"]


@pytest.fixture(scope="module")
def service(tiny):
    with encoder(tiny, limits=Limits(text_characters=3000)) as running:
        yield running


@pytest.fixture
def place(client, name):
    yield name
    clean(client, name)


def value(draw: random.Random, depth: int = 0) -> Any:
    """Any JSON: the deeper, the more often something plain."""
    kind = draw.randrange(9 if depth < 3 else 6)
    if kind >= 7:
        return {name: value(draw, depth + 1) for name in draw.sample(NAMES, draw.randrange(4))}
    if kind == 6:
        return [value(draw, depth + 1) for _ in range(draw.randrange(4))]
    return [
        None,
        draw.choice([True, False]),
        draw.randrange(-(2**62), 2**62),
        draw.random() * 10,
        draw.choice(WORDS),
        0,
    ][kind]


def document(draw: random.Random) -> dict[str, Any]:
    fields = {name: value(draw) for name in draw.sample(NAMES, 5)}
    fields["people"] = [{"name": draw.choice(WORDS), "year": year, "more": value(draw)} for year in range(3)]
    return {**fields, **draw.choice([{}, {"text": draw.choice(WORDS)}, {"title": "Bees", "text": draw.choice(WORDS)}])}


@pytest.mark.parametrize("passage_words", [None, 5])
def test_random_documents_come_out_as_they_went_in(client, place, service, tiny, passage_words):
    deployed(client, place, service, tiny, passage_words=passage_words)
    client.indices.put_mapping(index=place, body={"dynamic": False})
    documents = {f"d{seed}": document(random.Random(seed)) for seed in range(200)}
    assert {status for status, _ in bulk(client, place, documents).values()} == {201}
    found = client.mget(index=place, body={"ids": list(documents)}, params={"_source_excludes": "splare,passages"})
    stored = {each["_id"]: each["_source"] for each in found["docs"]}
    assert stored == documents
    # What was updated came through the pipeline a second time.
    client.update_by_query(index=place, params={"refresh": "true"})
    found = client.mget(index=place, body={"ids": list(documents)}, params={"_source_excludes": "splare,passages"})
    assert {each["_id"]: each["_source"] for each in found["docs"]} == documents


TEXTS = {
    "plain": "bees fly home",
    "missing": "a ${parameters.foo} b",
    "loop": "${parameters.input}",
    "default": "bees ${parameters.x:-dance} here",
    "escaped": "$${parameters.input}",
    "sign": "\ue000{ and \ue000\ue000{ and $\ue000{",
    "open": "${",
    "dollar": "$ {} $$ {$",
    "long": "bees and hives " * 1000,
    "quotes": '"}],"texts":["injected',
}


def test_every_text_gets_the_vector_that_the_client_gives_it(client, place, service, tiny):
    deployed(client, place, service, tiny)
    here = SplareIndex(client, f"{place}-client", tiny)
    here.create(replicas=0)
    here.index([Document(docid, text) for docid, text in TEXTS.items()])
    assert {
        status for status, _ in bulk(client, place, {docid: {"text": text} for docid, text in TEXTS.items()}).values()
    } == {201}
    everything = {"query_tokens": dict.fromkeys((f"f{latent}" for latent in range(tiny.config.width)), 1.0)}
    there, expected = scores(client, place, everything), scores(client, here.name, everything)
    assert there.keys() == expected.keys() == TEXTS.keys()
    for docid, score in there.items():
        # An impact on an edge may come out as either.
        assert abs(score - expected[docid]) <= 2, docid
    truncated = 'splare_texts_truncated_total{content_type="passage"}'
    (count,) = (line.split()[-1] for line in service.get("/metrics").text.splitlines() if line.startswith(truncated))
    assert float(count) == 1


def test_every_text_asks_as_the_client_does(client, place, service, tiny):
    deployed(client, place, service, tiny)
    here = SplareIndex(client, place, tiny)
    bulk(client, place, {docid: {"text": text} for docid, text in TEXTS.items()})
    for text in [*TEXTS.values(), "Über <b>&amp;</b> 蜜蜂 🐝 'x'", "tab\tbell\x07 \u2028 end"]:
        (expected,) = here.search([text], k=20)
        there = scores(client, place, {"query_text": text})
        # An impact on an edge may come out as either.
        assert {docid: 4 * score for docid, score in there.items()} == pytest.approx(
            dict(zip(expected.docids, expected.scores.tolist(), strict=True)), rel=0.01
        ), text


def test_passages_keep_what_looks_like_a_placeholder(client, place, service, tiny):
    deployed(client, place, service, tiny, passage_words=2)
    text = "one ${parameters.input} two $\ue000{ three"
    assert bulk(client, place, {"a": {"text": text}})["a"][0] == 201
    passages = client.get(index=place, id="a")["_source"]["passages"]
    assert "".join(passages) == text


def test_a_batch_of_the_longest_texts_is_a_request_that_the_encoder_takes(client, place, tiny):
    # Each character has six bytes in JSON; 64 texts a call would be 77 MB.
    with encoder(tiny) as service:
        deployed(client, place, service, tiny, batch_size=64)
        texts = {f"d{number}": {"text": f"bees {number} " + "\x01" * 300_000} for number in range(64)}
        for start in range(0, 64, 16):
            batch = dict(list(texts.items())[start : start + 16])
            assert {status for status, _ in bulk(client, place, batch).values()} == {201}


ENDS = ["  bees fly  ", "\u3000bees fly\u00a0", "bees fly\x00\x1f\x85", "\n\tbees\x07fly\u2003", "\u2028bees\u3000fly"]


@pytest.mark.parametrize("title", ["", "  ", "Bees ", "\u3000Bees\x00"])
def test_white_space_at_the_ends_is_dropped_as_on_the_client(client, place, service, tiny, title):
    deployed(client, place, service, tiny)
    texts = dict(enumerate([*ENDS, " ", "\u3000", ""]))
    answers = bulk(client, place, {str(number): {"title": title, "text": text} for number, text in texts.items()})
    assert {status for status, _ in answers.values()} == {201}
    index = SplareIndex(client, f"{place}-here", tiny)
    index.create()
    index.index([Document(str(number), text, title) for number, text in texts.items()])
    every = {"query_tokens": {f"f{latent}": 1 for latent in range(500)}}
    assert scores(client, place, every) == scores(client, index.name, every)
