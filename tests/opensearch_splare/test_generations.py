"""An index that is replaced hands on what it had; one that is deleted while it is loaded is not made by the server."""

from __future__ import annotations

import subprocess
import sys

import pytest

from opensearch_splare import SplareIndex
from opensearch_splare.bulk import BulkSender
from opensearch_splare.generations import Swap
from opensearch_splare.writer import OpenSearchWriter
from splare_plugins.errors import InputError
from tests.tiny import tiny_model

from .conftest import impacts_of, names, random_impacts
from .deploying import clean, deployed, encoder, scores
from .test_index import documents, encoded

pytestmark = pytest.mark.java

FILTER = {"filter": {"term": {"language": "en"}}, "search_routing": "1", "index_routing": "2"}


def load(location, config, count=3, **options):
    """Fill and publish an index; what became of the old one."""
    swaps: list[Swap] = []
    with OpenSearchWriter(location, config, on_swap=swaps.append, **options) as writer:
        writer.add(names(count), random_impacts(count, 5))
    return swaps[0] if swaps else None


def about(client, index):
    """Aliases, mappings and settings of the one index that a name stands for."""
    ((name, found),) = client.indices.get(index=index, params={"flat_settings": "true"}).items()
    return name, found


@pytest.fixture
def location(opensearch_url, name):
    return f"{opensearch_url}/{name}"


def test_a_first_load_replaces_nothing(location, config):
    assert load(location, config) is None


def test_a_swap_hands_on_aliases_settings_and_fields(client, name, config, location):
    load(location, config, shards=2, replicas=0, analyzer="english", store_vectors=True)
    old = f"{name}-000001"
    client.indices.put_alias(index=old, name=f"{name}-english", body=FILTER)
    client.indices.put_settings(index=old, body={"index.refresh_interval": "7s", "index.max_result_window": 50})
    client.indices.put_mapping(
        index=old,
        body={"properties": {"language": {"type": "keyword"}}, "_meta": {**meta(client, old), "owner": "me"}},
    )
    client.indices.put_settings(index=old, body={"index.blocks.write": True})
    before = about(client, old)[1]
    swap = load(location, config, overwrite=True)
    new, found = about(client, name)
    assert (swap.published, swap.kept, swap.removed) == (new, [old], []) == (f"{name}-000002", [old], [])
    assert {each for each in swap.carried if each.startswith(("field", "alias"))} == {
        "field language",
        f"alias {name}-english (filter, index_routing, search_routing)",
    }
    assert found["aliases"] == before["aliases"]
    assert found["mappings"] == before["mappings"]
    own = {"index.uuid", "index.creation_date", "index.provided_name"}
    assert {key: value for key, value in found["settings"].items() if key not in own} == {
        key: value for key, value in before["settings"].items() if key not in own
    }
    assert about(client, old)[1]["aliases"] == {}
    assert client.count(index=old)["count"] == client.count(index=name)["count"] == 3


def meta(client, index):
    return about(client, index)[1]["mappings"]["_meta"]


def test_what_is_asked_for_wins_over_what_was_there(client, name, config, location):
    load(location, config, shards=2, replicas=0, store_vectors=True)
    load(location, config, overwrite=True, shards=1, analyzer="german", store_vectors=False, replicas=1)
    _, found = about(client, name)
    assert (found["settings"]["index.number_of_shards"], found["settings"]["index.number_of_replicas"]) == ("1", "1")
    assert found["mappings"]["properties"]["text"] == {"type": "text", "analyzer": "german"}
    assert found["mappings"]["_source"] == {"excludes": ["splare"]}
    load(location, config, overwrite=True, field="other")
    _, found = about(client, name)
    assert found["mappings"]["_source"] == {"excludes": ["other"]}
    assert set(found["mappings"]["properties"]) == {"title", "text", "other"}


def test_previous_generations_are_kept_until_told_otherwise(client, name, config, location):
    for _ in range(3):
        load(location, config, overwrite=True)
    client.indices.put_alias(index=f"{name}-000001", name=f"{name}-fixed")
    swap = load(location, config, overwrite=True, keep_previous=False)
    # One that somebody gave an alias is in use.
    assert (swap.kept, swap.removed) == ([], [f"{name}-000002", f"{name}-000003"])
    assert sorted(client.indices.get(index=f"{name}-*")) == [f"{name}-000001", f"{name}-000004"]


def test_an_index_whose_very_name_becomes_the_alias_is_kept_too(client, name, config, location):
    index = SplareIndex(client, name, config)
    index.create(fields={"language": {"type": "keyword"}})
    index.index_encoded([encoded(impacts_of({1: 1}))])
    assert load(location, config, overwrite=True).kept == [f"{name}-000000"]
    copy = SplareIndex(client, f"{name}-000000", config)
    assert copy.search_impacts(impacts_of({1: 4}))[0].scores.tolist() == [4.0]
    copy.index_encoded([encoded(impacts_of({1: 1}), "later")])  # not blocked
    assert "language" in about(client, name)[1]["mappings"]["properties"]
    index.delete()
    index = SplareIndex(client, name, config)
    index.create()
    assert load(location, config, overwrite=True, keep_previous=False).removed == [name, f"{name}-000000"]


def test_a_deployed_index_stays_deployed(client, name, tiny, location):
    with encoder(tiny) as service:
        deployed(client, name, service, tiny)
        for count in (1, 2):
            index = SplareIndex(client, name, tiny)
            index.index(documents())
            with OpenSearchWriter(location, tiny.config, overwrite=True) as writer:
                writer.add(["d"], impacts_of({1: 1}, width=tiny.config.width))
            client.index(index=name, id="new", body={"text": "bees"}, refresh=True)
            assert scores(client, name, {"query_text": "bees"})
            assert client.count(index=f"{name}-00000{count}")["count"] == 2
        other = tiny_model(seed=1).config
        with pytest.raises(InputError, match=f"another model.*undeploy --index {name}"):
            OpenSearchWriter(location, other, overwrite=True)
        clean(client, name)
    # Earlier generations can be written to without the pipelines, which are gone.
    assert client.index(index=f"{name}-000001", id="late", body={"text": "x"})["result"] == "created"


def test_a_template_keeps_its_refresh_interval(client, name, config, location):
    body = {"index_patterns": [f"{name}-*"], "template": {"settings": {"index.refresh_interval": "33s"}}}
    client.indices.put_index_template(name=name, body=body)
    try:
        load(location, config)
    finally:
        client.indices.delete_index_template(name=name)
    assert about(client, name)[1]["settings"]["index.refresh_interval"] == "33s"


def test_an_unfinished_index_of_an_earlier_version_is_finished(client, name, config, location):
    first = OpenSearchWriter(location, config, run="A")
    first.add(names(1), random_impacts(1, 5))
    ((alias, _),) = about(client, first.building)[1]["aliases"].items()
    client.indices.delete_alias(index=first.building, name=alias)
    client.indices.put_settings(index=first.building, body={"index.refresh_interval": "-1"})
    load(location, config, run="A")
    _, found = about(client, name)
    assert list(found["aliases"]) == [name]
    assert "index.refresh_interval" not in found["settings"]


@pytest.mark.parametrize("again", [False, True], ids=["deleted", "made anew by another run"])
def test_an_index_that_is_deleted_while_a_writer_fills_it(client, name, config, location, again):
    first = OpenSearchWriter(location, config, run="A")
    first.add(names(2), random_impacts(2, 5))
    if again:
        second = OpenSearchWriter(location, config, run="B", overwrite=True)
    else:
        client.indices.delete(index=first.building)
    for call in (lambda: first.add(["more"], random_impacts(1, 5)), first.commit):
        with pytest.raises(InputError, match=r"deleted, replaced or published|no index"):
            call()
    left = client.indices.get(index=f"{name}*")
    assert list(left) == ([second.building] if again else [])
    if again:
        second.add(["d"], random_impacts(1, 5))
        second.commit()
        assert SplareIndex(client, name, config).count() == 1


def test_a_name_used_again_is_not_taken_for_the_index_before(client, name, config, location):
    first = OpenSearchWriter(location, config)
    client.indices.delete(index=first.building)
    second = OpenSearchWriter(location, config)
    assert second.building == first.building
    with pytest.raises(InputError, match="deleted, replaced or published"):
        first.add(["d"], random_impacts(1, 5))
    first.abort()
    second.add(names(2), random_impacts(2, 5))
    second.commit()
    assert SplareIndex(client, name, config).count() == 2


@pytest.mark.parametrize("again", [False, True], ids=["deleted", "replaced"])
def test_a_live_index_that_is_deleted_while_it_is_loaded(client, name, config, again):
    index = SplareIndex(client, name, config)
    index.create()

    def batches():
        yield encoded(random_impacts(2, 5))
        client.indices.delete(index=name)
        if again:
            SplareIndex(client, name, config).create()
        yield encoded(random_impacts(2, 5), "e")

    with pytest.raises(InputError, match="deleted, replaced or published"):
        index.index_encoded(batches())
    assert client.indices.exists(index=name) == again


def test_a_live_index_that_is_deleted_while_a_request_is_on_its_way(client, name, config, monkeypatch):
    index = SplareIndex(client, name, config)
    index.create()
    send = BulkSender.send

    def delete_and_send(sender, documents):
        client.indices.delete(index=name)
        return send(sender, documents)

    monkeypatch.setattr(BulkSender, "send", delete_and_send)
    with pytest.raises(InputError, match="deleted, replaced or published"):
        index.index_encoded([encoded(random_impacts(2, 5))])
    assert not client.indices.get(index=f"{name}*")


def test_the_alias_of_a_load_is_gone_after_it(client, name, config):
    index = SplareIndex(client, name, config)
    index.create()
    seen = []

    def batches():
        yield encoded(random_impacts(2, 5))
        seen.extend(about(client, name)[1]["aliases"])

    index.index_encoded(batches())
    assert len(seen) == 1
    assert index.count() == 2
    assert not about(client, name)[1]["aliases"]


def test_loads_that_overlap_leave_the_refresh_interval_as_it_was(client, name, config):
    index = SplareIndex(client, name, config)
    index.create()
    client.indices.put_settings(index=name, body={"index.refresh_interval": "9s"})

    def outer():
        yield encoded(random_impacts(2, 5))
        index.index_encoded([encoded(random_impacts(2, 5), "inner")])
        yield encoded(random_impacts(2, 5), "e")

    index.index_encoded(outer())
    assert about(client, name)[1]["settings"]["index.refresh_interval"] == "9s"


KILLED = """
import os, sys
from opensearch_splare import SplareIndex, connect
from tests.opensearch_splare.conftest import random_impacts
from tests.opensearch_splare.test_index import encoded
def batches():
    yield encoded(random_impacts(2, 5))
    os._exit(9)
SplareIndex(connect(sys.argv[1]), sys.argv[2]).index_encoded(batches())
"""


def test_a_killed_load_leaves_the_refresh_interval_as_it_was(client, name, config, opensearch_url):
    SplareIndex(client, name, config).create()
    client.indices.put_settings(index=name, body={"index.refresh_interval": "9s"})
    assert subprocess.run([sys.executable, "-c", KILLED, opensearch_url, name]).returncode == 9
    assert about(client, name)[1]["settings"]["index.refresh_interval"] == "9s"


def test_the_alias_of_a_killed_load_is_not_handed_on(client, name, config, location, opensearch_url):
    SplareIndex(client, name, config).create()
    assert subprocess.run([sys.executable, "-c", KILLED, opensearch_url, name]).returncode == 9
    assert about(client, name)[1]["aliases"]
    swap = load(location, config, overwrite=True)
    assert list(about(client, name)[1]["aliases"]) == [name]
    assert not [each for each in swap.carried if "alias" in each]
