"""Nothing is lost or doubled: killed clients go on, refused documents are named."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from opensearch_splare import BulkSender, SplareIndex, index_body
from opensearch_splare.checkpoint import Checkpoint
from opensearch_splare.mapping import IndexCard
from opensearch_splare.writer import OpenSearchWriter
from splare_plugins.corpus import Document
from splare_plugins.errors import InputError

from .conftest import impacts_of, names, random_impacts
from .test_index import encoded

pytestmark = pytest.mark.java

COUNT = 2000

KILLED_CLIENT = """
import sys
from opensearch_splare import SplareIndex, connect
from splare_plugins.corpus import Document
from splare_plugins.model.splare import SplareModel
url, name, model, checkpoint, count = sys.argv[1:]
index = SplareIndex(connect(url), name, SplareModel.from_pretrained(model, device="cpu"))
documents = (Document(f"d{number}", f"text {number}") for number in range(int(count)))
index.index(documents, checkpoint=checkpoint, chunk_documents=50)
"""


def collection() -> list[Document]:
    return [Document(f"d{number}", f"text {number}") for number in range(COUNT)]


@pytest.mark.slow
def test_a_killed_client_goes_on(client, name, tiny, tiny_folder, opensearch_url, tmp_path):
    index = SplareIndex(client, name, tiny)
    index.create()
    client.indices.put_settings(index=name, body={"index": {"refresh_interval": "9s"}})
    checkpoint = tmp_path / "checkpoint.json"
    command = [
        sys.executable,
        "-c",
        KILLED_CLIENT,
        opensearch_url,
        name,
        str(tiny_folder),
        str(checkpoint),
        str(COUNT),
    ]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[2], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (checkpoint.exists() and Checkpoint.load(checkpoint).documents):
        assert process.poll() is None, process.stderr.read().decode()
        time.sleep(0.01)
    process.kill()
    process.communicate()
    done = Checkpoint.load(checkpoint).documents
    assert 0 < done < COUNT
    client.indices.refresh(index=name)
    assert done <= index.count() < COUNT
    report = index.index(collection(), checkpoint=checkpoint)
    assert (report.indexed, report.resumed) == (COUNT, done)
    assert index.count() == COUNT
    assert not checkpoint.exists()
    settings = client.indices.get_settings(index=name)[name]["settings"]["index"]
    assert settings["refresh_interval"] == "9s"


def test_a_checkpoint_skips_without_encoding(client, name, tiny, tmp_path):
    index = SplareIndex(client, name, tiny)
    index.create()
    checkpoint = tmp_path / "checkpoint.json"
    broken = [Document(f"d{number}", f"text {number}") for number in range(600)]
    with pytest.raises(InputError, match="'bad id'"):
        index.index([*broken, Document("bad id", "x")], checkpoint=checkpoint)
    assert Checkpoint.load(checkpoint).documents == 512
    counted = []
    index.index([*broken, Document("good", "x")], checkpoint=checkpoint, on_progress=counted.append)
    assert sum(counted) == 601 - 512
    assert index.count() == 601


def test_checkpoints_that_do_not_fit(client, name, tiny, tmp_path):
    index = SplareIndex(client, name, tiny)
    index.create()
    checkpoint = tmp_path / "checkpoint.json"
    begun = [Document(f"d{number}", f"text {number}") for number in range(600)]
    with pytest.raises(InputError):
        index.index([*begun, Document("bad id", "x")], checkpoint=checkpoint)
    for other in (begun[1:], begun[:100]):
        with pytest.raises(InputError, match="same collection"):
            index.index(other, checkpoint=checkpoint)
    with pytest.raises(InputError, match="'d3' was added before"):
        index.index([*begun, Document("d3", "again")], checkpoint=checkpoint)
    index.delete()
    index.create()
    with pytest.raises(InputError, match="deleted since"):
        index.index(begun, checkpoint=checkpoint)
    checkpoint.write_text("{")
    with pytest.raises(InputError, match="damaged"):
        index.index(begun, checkpoint=checkpoint)


def test_refused_documents_are_named(client, name, tiny):
    index = SplareIndex(client, name, tiny)
    index.create(fields={"year": {"type": "integer"}})
    good = [{"_id": f"d{number}", "text": "fine", "year": number} for number in range(20)]
    bad = [{"_id": "x1", "text": "fine", "year": "soon"}, {"_id": "x2", "text": "fine", "unknown": 1}]
    report = index.index([*good[:10], *bad, *good[10:]], on_error="report")
    assert (report.indexed, [failure.docid for failure in report.failures]) == (20, ["x1", "x2"])
    assert [failure.status for failure in report.failures] == [400, 400]
    assert "soon" in report.failures[0].reason
    assert "strict" in report.failures[1].reason
    assert index.count() == 20
    with pytest.raises(InputError, match=r"'x1' \(and 1 others\).*soon"):
        index.index([*good, *bad])
    assert index.count() == 20


@pytest.mark.parametrize(
    ("documents", "words"),
    [
        ([Document("a", "x"), Document("a", "y")], "'a' was added before"),
        ([Document("a" * 513, "x")], "513 bytes"),
        ([Document("ü" * 257, "x")], "514 bytes"),
        ([Document("", "x")], "id is empty"),
        ([{"text": "x"}], "_id"),
        ([{"_id": "a"}], "text"),
        ([{"_id": "a", "text": "x", "year": float("nan")}], "'a'"),
    ],
)
def test_documents_that_are_refused_before_sending(client, name, tiny, documents, words):
    index = SplareIndex(client, name, tiny)
    index.create(fields={"year": {"type": "float"}})
    with pytest.raises(InputError, match=words):
        index.index(documents)
    client.indices.refresh(index=name)
    assert index.count() == 0


def test_whole_numbers_are_ids_too(client, name, tiny):
    index = SplareIndex(client, name, tiny)
    index.create(fields={"year": {"type": "integer"}})
    index.index([{"_id": 7, "text": "x", "year": 3}, Document(8, "y")])
    assert client.get(index=name, id="7")["_source"]["year"] == 3
    with pytest.raises(InputError, match="'7' was added before"):
        index.index([{"_id": 7, "text": "x"}, {"_id": "7", "text": "x"}])


@pytest.mark.parametrize(
    ("impacts", "words"),
    [
        (impacts_of({1: 5}, {2: 0}), "'d1' has the impact 0"),
        (impacts_of({1: 5}, {2: 9, 4: -3}), "'d1' has the impact -3"),
        (impacts_of({1: 5}, {2: 513}), "'d1' has the impact 513"),
        (impacts_of({1: 5}, {2: 9}) * np.nan, "must be integers"),
    ],
)
def test_impacts_that_are_refused_before_sending(client, name, config, impacts, words):
    index = SplareIndex(client, name, config)
    index.create()
    with pytest.raises(InputError, match=words):
        index.index_encoded([encoded(impacts)])
    assert index.count() == 0


@pytest.mark.parametrize(("kind", "words"), [(None, "not made by splare"), ("float", "has the type float")])
def test_a_mapping_that_is_missing_or_wrong(client, name, config, kind, words):
    body = index_body(IndexCard(config=config))
    body["mappings"]["properties"]["splare"] = {"type": kind}
    client.indices.create(index=name, body=body if kind else {})
    index = SplareIndex(client, name, config)
    for call in (
        lambda: index.index_encoded([encoded(impacts_of({1: 1}))]),
        lambda: index.search_impacts(impacts_of({1: 1})),
    ):
        with pytest.raises(InputError, match=words):
            call()
    assert index.count() == 0


def test_a_longest_id(client, name, tiny):
    index = SplareIndex(client, name, tiny)
    index.create()
    assert index.index([Document("ü" * 256, "x")]).indexed == 1


def test_requests_are_bounded_in_bytes(client, name, config, monkeypatch):
    sizes = []
    send = client.bulk
    monkeypatch.setattr(client, "bulk", lambda body, **rest: sizes.append(len(body)) or send(body=body, **rest))
    index = SplareIndex(client, name, config)
    index.create()
    index.index_encoded([encoded(random_impacts(200, 100))], chunk_bytes=20_000)
    assert max(sizes) <= 20_000
    assert len(sizes) > 5
    assert index.count() == 200


def test_an_interrupted_writer_goes_on_with_its_run(opensearch_url, client, name, config):
    location, impacts = f"{opensearch_url}/{name}", random_impacts(100, 20)
    with pytest.raises(KeyboardInterrupt), OpenSearchWriter(location, config, run="corpus 1") as writer:
        writer.add(names(60), impacts[:60])
        raise KeyboardInterrupt
    assert not client.indices.exists(index=name)
    with pytest.raises(InputError, match="not complete"):
        SplareIndex(client, f"{name}-000001", config).count() or SplareIndex(client, f"{name}-000001", config).card
    for other in ({"run": "corpus 2"}, {}):
        with pytest.raises(InputError, match="unfinished index that another run began"):
            OpenSearchWriter(location, config, **other)
    with OpenSearchWriter(location, config, run="corpus 1") as writer:
        writer.add(names(100), impacts)
        assert (writer.counts.found, writer.counts.written) == (60, 40)
    assert SplareIndex(client, name, config).count() == 100
    assert list(client.indices.get_alias(index=f"{name}*")) == [f"{name}-000001"]


def test_an_unfinished_index_with_other_documents_is_not_published(opensearch_url, client, name, config):
    location, impacts = f"{opensearch_url}/{name}", random_impacts(100, 20)
    with pytest.raises(KeyboardInterrupt), OpenSearchWriter(location, config, run="corpus") as writer:
        writer.add(names(60), impacts[:60])
        raise KeyboardInterrupt
    with (
        pytest.raises(InputError, match="60 documents and the collection 50"),
        OpenSearchWriter(location, config, run="corpus") as writer,
    ):
        writer.add(names(50), impacts[:50])
    assert not client.indices.exists(index=name)
    with OpenSearchWriter(location, config, run="another", overwrite=True) as writer:
        writer.add(names(50), impacts[:50])
    assert SplareIndex(client, name, config).count() == 50


def test_overwriting_only_what_is_ours(opensearch_url, client, name, config):
    client.indices.create(index=name)
    with pytest.raises(InputError, match="not made by splare"):
        OpenSearchWriter(f"{opensearch_url}/{name}", config, overwrite=True)
    assert client.indices.exists(index=name)


def test_overwriting_an_index_that_was_created_by_hand(opensearch_url, client, name, config):
    SplareIndex(client, name, config).create()
    with OpenSearchWriter(f"{opensearch_url}/{name}", config, overwrite=True) as writer:
        writer.add(["d"], impacts_of({1: 1}))
    assert list(client.indices.get_alias(index=name)) == [f"{name}-000001"]
    assert SplareIndex(client, name, config).count() == 1


def test_a_read_only_index(client, name, config):
    index = SplareIndex(client, name, config)
    index.create()
    client.indices.put_settings(index=name, body={"index": {"blocks.write": True}})
    with pytest.raises(InputError, match=r"cannot be written.*block"):
        BulkSender(client, name).send([("d", json.dumps({"splare": {"f1": 1}}))])
    with pytest.raises(InputError, match=r"cannot be written.*block"):
        index.index_encoded([encoded(impacts_of({1: 1}))])
    client.indices.put_settings(index=name, body={"index": {"blocks.write": False}})
    index.index_encoded([encoded(impacts_of({1: 1}))])
    assert index.count() == 1
