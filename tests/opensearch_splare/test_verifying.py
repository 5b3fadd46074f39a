"""Documents whose vector is not that of their text are found, and no others."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from opensearch_splare import SplareIndex, verify
from splare_plugins.cli.app import app
from splare_plugins.corpus import Document
from splare_plugins.errors import IdentityError, InputError
from tests.tiny import tiny_model

from .deploying import DOCUMENTS, EMPTY, bulk, clean, deployed, encoder

pytestmark = pytest.mark.java


@pytest.fixture
def index(client, name, tiny):
    made = SplareIndex(client, name, tiny)
    made.create()
    made.index(Document(f"d{number}", f"text number {number} about bees", "Bees") for number in range(450))
    return made


def put(client, index, docid, text, vector):
    """A document with a vector of its own."""
    client.index(index=index, id=docid, body={"text": text, **({"splare": vector} if vector else {})}, refresh=True)


def test_an_index_of_our_own_matches(index, tiny):
    counted = []
    found = verify(index, tiny, sample=None, on_progress=counted.append)
    assert (found.checked, found.bad, sum(counted)) == (450, [], 450)
    assert verify(index, tiny, sample=30).checked == 30


def test_other_vectors_are_found(index, client, tiny):
    put(client, index.name, "d7", "text number 7 about bees", {"f1": 3})
    put(client, index.name, "d9", "another text", None)
    put(client, index.name, "blank", " ", None)
    client.update(index=index.name, id="d11", body={"doc": {"title": "Ants"}}, refresh=True)  # loses the vector
    found = verify(index, tiny, sample=None)
    assert (found.checked, found.without_text, found.different, sorted(found.missing)) == (
        450,
        1,
        ["d7"],
        ["d11", "d9"],
    )


def test_one_impact_more_or_less_is_rounding(client, name, tiny):
    index = SplareIndex(client, name, tiny)
    index.create(store_vectors=True)
    index.index([Document("a", "bees navigate by the sun"), Document("b", "ants do not")])
    vector = client.get(index=name, id="a")["_source"]["splare"]
    edge = dict(vector)
    edge[min(edge)] += 1
    put(client, name, "a", "bees navigate by the sun", edge)
    assert verify(index, tiny).bad == []
    put(client, name, "a", "bees navigate by the sun", {term: 3 * impact for term, impact in vector.items()})
    assert verify(index, tiny).different == ["a"]


def test_partial_updates_of_a_deployed_index(client, name, tiny):
    with encoder(tiny) as service:
        deployed(client, name, service, tiny)
        assert {status for status, _ in bulk(client, name, {**DOCUMENTS, **EMPTY}).values()} == {201}
        index = SplareIndex(client, name, tiny)
        assert verify(index, tiny, sample=None).bad == []
        partial = [
            {"update": {"_index": name, "_id": "titled"}},
            {"doc": {"title": "Ants"}, "doc_as_upsert": True},
        ]
        client.bulk(body=partial, refresh=True)
        assert verify(index, tiny, sample=None).bad == ["titled"]
        client.update_by_query(index=name, body={"query": {"ids": {"values": ["titled"]}}}, params={"refresh": "true"})
        assert verify(index, tiny, sample=None).bad == []
        clean(client, name)


def test_what_cannot_be_verified(index, client, tiny):
    with pytest.raises(IdentityError, match="seed-1"):
        verify(index, tiny_model(seed=1))
    with pytest.raises(InputError, match="the size of the sample"):
        verify(index, tiny, sample=2.5)
    with pytest.raises(InputError, match="no index"):
        verify(SplareIndex(client, f"{index.name}-none"), tiny)


def test_the_command_says_which_and_fails(index, client, tiny_folder, opensearch_url):
    command = ["opensearch", "verify", "-i", index.name, "--url", opensearch_url, "--model", str(tiny_folder), "--all"]
    good = CliRunner().invoke(app, [*command, "--json"])
    assert (good.exit_code, json.loads(good.stdout)["checked"]) == (0, 450), good.output
    put(client, index.name, "d7", "text number 7 about bees", {"f1": 3})
    bad = CliRunner().invoke(app, command)
    assert bad.exit_code == 1
    assert "d7" in bad.stdout
    assert "do not match" in bad.stdout
