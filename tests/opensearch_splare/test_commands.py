"""``splare index opensearch``, ``splare search`` with a URL, and the local node's commands."""

from __future__ import annotations

import gzip
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from opensearch_splare import BulkSender
from opensearch_splare.bulk import Failure
from opensearch_splare.node.process import QUICK_JVM, free_port
from splare_plugins.corpus import read_run
from tests.cli.conftest import cut, splare
from tests.tiny import save_tiny_model

__all__ = ["splare"]

pytestmark = pytest.mark.java

DATA = Path(__file__).parents[2] / "examples" / "data"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    cut(DATA / "xquad" / "en", folder, 12)
    return folder


def assert_same_runs(one: Path, other: Path) -> None:
    runs = read_run(one), read_run(other)
    assert runs[0].keys() == runs[1].keys()
    for qid, hits in runs[0].items():
        assert hits.scores.tolist() == runs[1][qid].scores.tolist()


def test_explain_takes_the_text_that_an_index_keeps(splare, opensearch_url, name, tiny_folder, corpus):
    url = f"{opensearch_url}/{name}"
    short = ("explain", "the Panthers", "p000", "--index", url, "--json")
    command = ("index", "opensearch", corpus, "--url", opensearch_url, "-i", name, "-M", tiny_folder)
    made = splare(*command)
    assert made.status == 0, made.err
    assert splare(*short).facts == splare(*short, "--corpus", corpus).facts
    missing = splare("explain", "the Panthers", "nothing", "--index", url.replace("//", "//user:secret@"))
    assert missing.status == 2
    assert "'nothing'" in missing.err and "secret" not in missing.err
    assert splare(*command, "--no-text", "--overwrite").status == 0
    refused = splare(*short)
    assert refused.status == 2
    assert "keeps no text of a document 'p000', and gives no impacts; name" in " ".join(refused.err.split())


def test_index_and_search(splare, opensearch_url, name, tiny, tiny_folder, corpus, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENSEARCH_URL", opensearch_url)
    facts = splare(
        "index", "opensearch", corpus, "--index", name, "-M", tiny_folder, "--dtype", "float32", "--json"
    ).facts
    assert facts["indexed"] == 12
    url = f"{opensearch_url}/{name}"
    about = splare("inspect", url, "--json").facts
    assert (about["kind"], about["documents"]) == ("an index of the engine opensearch", 12)
    assert about["model"] == f"{tiny.config.name} {tiny.config.revision}"
    with_password = splare("inspect", url.replace("//", "//user:secret@"))
    assert with_password.status == 0, with_password.err
    assert "secret" not in with_password.out
    outcome = splare("search", url, corpus, "-o", tmp_path / "run", "-M", tiny_folder, "-k", 20, "--json")
    assert outcome.facts["queries"] > 0, outcome.err
    splare("index", "memory", corpus, "-o", tmp_path / "memory", "-M", tiny_folder)
    options = ["-M", tiny_folder, "-k", 20, "--engine", "memory"]
    splare("search", tmp_path / "memory", corpus, "-o", tmp_path / "exact", *options)
    assert_same_runs(tmp_path / "run", tmp_path / "exact")
    for cluster in ([], ["--url", opensearch_url]):
        options = ["--index", name, "-M", tiny_folder, "-k", 20, *cluster]
        assert splare("search", "opensearch", corpus, "-o", tmp_path / "named", *options).status == 0
        assert_same_runs(tmp_path / "named", tmp_path / "exact")


def test_overwriting_says_what_became_of_the_old_index(splare, client, opensearch_url, name, tiny_folder, corpus):
    command = ["index", "opensearch", corpus, "--url", opensearch_url, "-i", name, "-M", tiny_folder]
    assert "taken_over" not in splare(*command, "--json").facts
    client.indices.put_alias(index=f"{name}-000001", name=f"{name}-too")
    client.indices.put_settings(index=name, body={"index.refresh_interval": "9s"})
    facts = splare(*command, "--overwrite", "--json").facts
    assert facts["replaced_by"] == f"{name}-000002"
    assert sorted(facts["taken_over"]) == [f"alias {name}-too", "index.refresh_interval: 9s"]
    assert (facts["previous_kept"], facts["previous_removed"]) == ([f"{name}-000001"], [])
    said = splare(*command, "--overwrite", "--drop-previous").out
    assert f"{name}-000003" in said
    assert f"{name}-000001, {name}-000002" in said.replace("\n", " ").replace("  ", " ")
    assert list(client.indices.get(index=f"{name}-0*")) == [f"{name}-000003"]


def test_from_encoded_shards(splare, opensearch_url, client, name, tiny_folder, corpus, tmp_path):
    splare("encode", corpus, "-o", tmp_path / "encoded", "-M", tiny_folder)
    command = ["index", "opensearch", tmp_path / "encoded", "--url", opensearch_url, "-i", name, "--json"]
    assert splare(*command).facts["indexed"] == 12
    again = splare(*command)
    assert again.status == 2
    assert "exists already" in again.err
    assert splare(*command, "--overwrite", "--shards", 2, "--replicas", 0).facts["indexed"] == 12
    assert client.count(index=name)["count"] == 12
    settings = client.indices.get_settings(index=name)[f"{name}-000002"]["settings"]["index"]
    assert (settings["number_of_shards"], settings["number_of_replicas"]) == ("2", "0")
    asked = splare(*command, "--overwrite", "--store-text")
    assert asked.status == 2
    assert "keeps no texts" in asked.err
    splare("encode", corpus, "-o", tmp_path / "texts", "-M", tiny_folder, "--store-text")
    command[2] = tmp_path / "texts"
    assert splare(*command, "--overwrite").facts["indexed"] == 12
    assert client.search(index=name)["hits"]["hits"][0]["_source"]["text"]


def test_another_model_is_refused(splare, opensearch_url, name, tiny_folder, corpus, tmp_path):
    splare("index", "opensearch", corpus, "--url", opensearch_url, "-i", name, "-M", tiny_folder)
    other = save_tiny_model(tmp_path / "other", seed=1)
    outcome = splare("search", f"{opensearch_url}/{name}", corpus, "-o", tmp_path / "run", "-M", other)
    assert outcome.status == 2
    assert "seed-0" in outcome.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["search", "http://127.0.0.1:9/docs", "CORPUS", "-o", "run"], "cannot be reached"),
        (["search", "http://127.0.0.1:9/Docs", "CORPUS", "-o", "run"], "cannot be called"),
        (["search", "URL/nowhere", "CORPUS", "-o", "run"], "nowhere"),
        (["search", "opensearch", "CORPUS", "--url", "URL", "-i", "nowhere", "-o", "run"], "nowhere"),
        (["search", "opensearch", "CORPUS", "--url", "URL", "-o", "run"], "wants --index"),
        (["inspect", "URL/nowhere"], "nowhere"),
        (["inspect", "http://u:secret@127.0.0.1:9/docs"], "cannot be reached"),
        (["inspect", "URL"], "does not name an index"),
        (["index", "opensearch", "CORPUS", "--url", "URL", "-i", "UPPER"], "cannot be called"),
        (["index", "opensearch", "CORPUS", "--url", "http://u:secret@127.0.0.1:9", "-i", "docs"], "cannot be reached"),
        (["index", "opensearch", "nothing.jsonl", "--url", "URL", "-i", "docs"], "does not exist"),
        (["opensearch", "stop", "--folder", "FOLDER"], "no node"),
    ],
)
def test_mistakes(splare, opensearch_url, tiny_folder, corpus, tmp_path, monkeypatch, arguments, word):
    monkeypatch.chdir(tmp_path)
    places = {"CORPUS": str(corpus), "FOLDER": str(tmp_path)}
    filled = [places.get(each, each.replace("URL", opensearch_url)) for each in arguments]
    outcome = splare(*filled, *([] if arguments[0] in ("opensearch", "inspect") else ["-M", tiny_folder]))
    assert outcome.status == 2
    assert word in outcome.err
    assert "secret" not in outcome.err
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize(("status", "words"), [(401, "a user and a password"), (403, "may not do this")])
def test_clusters_that_refuse(splare, serve, tiny_folder, corpus, tmp_path, status, words):
    with serve(
        lambda *_: (status, {"error": {"type": "security_exception", "reason": "no"}, "status": status})
    ) as url:
        for arguments in (
            ["index", "opensearch", corpus, "--url", url, "-i", "docs", "-M", tiny_folder],
            ["search", "opensearch", corpus, "--url", url, "-i", "docs", "-M", tiny_folder, "-o", tmp_path / "run"],
            ["inspect", f"{url}/docs"],
        ):
            outcome = splare(*arguments)
            assert outcome.status == 2
            assert words in outcome.err


def test_a_refused_command_goes_on(splare, opensearch_url, client, name, tiny_folder, tmp_path, monkeypatch):
    """The cluster refuses in the middle; what was written before stays."""
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text(
        "".join(json.dumps({"_id": f"d{number}", "text": f"text {number}"}) + "\n" for number in range(700))
    )
    command = ["index", "opensearch", corpus, "--url", opensearch_url, "-i", name, "-M", tiny_folder, "--json"]
    building, send = f"{name}-000001", BulkSender.send

    def block_later(sender: BulkSender, documents: Iterable[tuple[str, str]]) -> list[Failure]:
        if sender.counts.written:
            client.indices.put_settings(index=building, body={"index": {"blocks.write": True}})
        return send(sender, documents)

    with monkeypatch.context() as patched:
        patched.setattr(BulkSender, "send", block_later)
        outcome = splare(*command)
    assert outcome.status == 2
    assert "cannot be written" in outcome.err
    assert not client.indices.exists(index=name)
    client.indices.put_settings(index=building, body={"index": {"blocks.write": False}})
    client.indices.refresh(index=building)
    assert 0 < client.count(index=building)["count"] < 700
    assert splare(*command).facts["indexed"] == 700
    assert client.count(index=name)["count"] == 700


@pytest.mark.slow
def test_an_interrupted_command_goes_on(splare, opensearch_url, client, name, tiny_folder, tmp_path):
    corpus = tmp_path / "corpus.jsonl.gz"
    with gzip.open(corpus, "wt", encoding="utf-8") as file:
        for number in range(2500):
            file.write(json.dumps({"_id": f"d{number}", "text": f"document {number} " * 3}) + "\n")
    arguments = ["index", "opensearch", str(corpus), "--url", opensearch_url, "-i", name, "-M", str(tiny_folder)]
    command = [sys.executable, "-c", "from splare_plugins.cli.app import main; main()", *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        found = client.indices.stats(index=f"{name}*", metric="docs")["indices"].values()
        if sum(each["primaries"]["docs"]["count"] for each in found):
            break
        client.indices.refresh(index=f"{name}*")
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "the same command goes on" in err
    assert not client.indices.exists(index=name)
    assert splare(*arguments, "--json").facts["indexed"] == 2500
    assert client.count(index=name)["count"] == 2500


@pytest.mark.slow
def test_start_status_stop(splare, tmp_path, monkeypatch):
    monkeypatch.setenv("JDK_JAVA_OPTIONS", " ".join(QUICK_JVM))
    place, port = ["--folder", tmp_path / "node"], free_port()
    assert splare("opensearch", "status", *place, "--json").facts["running"] is False
    started = splare("opensearch", "start", *place, "--port", port, "--heap", "512m", "--json")
    try:
        assert started.facts["url"] == f"http://127.0.0.1:{port}", started.err
        second = splare("opensearch", "start", *place, "--port", free_port())
        assert second.status == 2
        assert "is running in" in second.err
        taken = splare("opensearch", "start", "--folder", tmp_path / "other", "--port", port)
        assert taken.status == 2
        assert "taken" in taken.err
        facts = splare("opensearch", "status", *place, "--json").facts
        assert (facts["running"], facts["documents"]) == (True, 0)
    finally:
        stopped = splare("opensearch", "stop", *place, "--json")
    assert stopped.status == 0, stopped.err
    assert splare("opensearch", "status", *place, "--json").facts["running"] is False


def test_several_loaders_of_one_index(splare, opensearch_url, name, tiny, tiny_folder, corpus, tmp_path):
    texts = ("index", "opensearch", corpus, "--url", opensearch_url, "-M", tiny_folder, "--json")
    first = splare(*texts, "-i", name, "--shard", "2/3")
    assert (first.facts["complete"], first.facts["waits_for"]) == (False, ["1/3"]), "12 documents are one part"
    assert (first.facts["read"], first.facts["indexed"], first.facts["elsewhere"]) == (12, 0, 12)
    other = splare(*texts, "-i", name, "--shard", "1/3", "--shards", "2")
    assert other.status == 2
    assert "another run began" in " ".join(other.err.split())
    last = splare(*texts, "-i", name, "--shard", "1/3")
    assert (last.facts["complete"], last.facts["waits_for"], last.facts["indexed"]) == (True, [], 12)
    again = splare(*texts, "-i", name, "--shard", "1/3", "--overwrite")
    assert again.facts == {"complete": True, "waits_for": []}

    encoded = tmp_path / "encoded"
    assert splare("encode", corpus, "-o", encoded, "-M", tiny_folder, "--part-size", 5).status == 0
    ready = ("index", "opensearch", encoded, "--url", opensearch_url, "-i", f"{name}-encoded")
    shown = splare(*ready, "--shard", "3/3")
    assert shown.status == 0, shown.err
    assert "which is complete with 1/3, 2/3" in " ".join(shown.out.split())
    assert splare(*ready, "--shard", "1/2", "--json").facts["waits_for"] == ["2/2"]
    assert splare(*ready, "--shard", "1/1", "--json").facts["indexed"] == 5
    options = ["-M", tiny_folder, "-k", 20]
    for which in (name, f"{name}-encoded"):
        assert splare("search", f"{opensearch_url}/{which}", corpus, "-o", tmp_path / which, *options).status == 0
    assert_same_runs(tmp_path / name, tmp_path / f"{name}-encoded")

    (tmp_path / "empty.jsonl").touch()
    nothing = splare("index", "opensearch", tmp_path / "empty.jsonl", *texts[3:], "-i", f"{name}-x", "--shard", "1/2")
    assert nothing.status == 2
    assert "empty.jsonl holds no document" in " ".join(nothing.err.split())
    both = splare(*texts, "-i", f"{name}-x", "--encoded", tmp_path / "kept", "--shard", "1/2")
    assert both.status == 2
    assert "--encoded and --shard do not go together" in " ".join(both.err.split())
    assert splare(*texts, "-i", f"{name}-x", "--shard", "3/2").status == 2
