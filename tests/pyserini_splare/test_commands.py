"""The three command lines with Pyserini's options."""

from __future__ import annotations

import dataclasses
import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pyserini_splare import LuceneSearcher, read_json_vectors, write_json_vectors, write_query_file
from pyserini_splare.encode import main as encode
from pyserini_splare.index import main as index
from pyserini_splare.search import main as search
from splare_plugins.corpus import read_run
from splare_plugins.errors import IdentityError, InputError
from splare_plugins.impacts import to_dicts
from splare_plugins.steering import steer
from tests.tiny import save_tiny_model

from .conftest import ROOT, impacts_of, names, products, random_impacts, write

DOCUMENTS = random_impacts(50, 20, seed=4)
QUERIES = random_impacts(4, 10, seed=5)
TEXTS = ["first", "second", "third", "fourth"]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A collection, topics and encoded queries."""
    (tmp_path / "collection").mkdir()
    write_json_vectors(tmp_path / "collection" / "0.jsonl", names(50), DOCUMENTS, [f"text {row}" for row in range(50)])
    (tmp_path / "topics.tsv").write_text("".join(f"d{row}\t{text}\n" for row, text in enumerate(TEXTS)))
    write_query_file(tmp_path / "queries.jsonl", names(4), TEXTS, QUERIES)
    return tmp_path


def searching(files: Path, *more: str) -> list[str]:
    arguments = ["--index", str(files / "index"), "--topics", str(files / "topics.tsv"), "--impact"]
    return [*arguments, "--encoder", str(files / "queries.jsonl"), "--output", str(files / "run"), *more]


@pytest.mark.java
def test_index_and_search(jvm: None, files: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    arguments = ["--collection", "JsonVectorCollection", "--input", str(files / "collection")]
    arguments += ["--index", str(files / "index"), "--generator", "DefaultLuceneDocumentGenerator", "--threads", "4"]
    index([*arguments, "--impact", "--pretokenized", "--storeRaw", "--storeDocvectors", "--optimize"])
    assert "50 documents, 0 of them empty" in caplog.text
    assert "without effect: --generator, --threads" in caplog.text
    search(searching(files, "--hits", "10", "--threads", "4", "--batch-size", "3"))
    run = read_run(files / "run")
    with LuceneSearcher(files / "index") as searcher:
        expected = searcher.search(QUERIES, 11)
        assert json.loads(searcher.document("d3") or "")["vector"] == to_dicts(DOCUMENTS)[3]
        assert searcher.vector("d3") == to_dicts(DOCUMENTS)[3]
    assert {qid: sorted(hits.scores.tolist()) for qid, hits in run.items()} == {
        f"d{row}": sorted(hits.scores[:10].tolist()) for row, hits in enumerate(expected)
    }

    search(searching(files, "--hits", "10", "--output-format", "msmarco", "--remove-query"))
    lines = [line.split("\t") for line in (files / "run").read_text().splitlines()]
    assert lines == [
        [f"d{row}", docid, str(rank)]
        for row, hits in enumerate(expected)
        for rank, docid in enumerate([docid for docid in hits.docids if docid != f"d{row}"][:10], start=1)
    ]
    for method in ("--rm3", "--rocchio"):
        search(searching(files, method))
        assert len(read_run(files / "run")) == 4
    with pytest.raises(InputError, match="exists"):
        index(arguments)
    index([*arguments, "--overwrite"])


@pytest.mark.java
def test_min_idf(jvm: None, files: Path) -> None:
    write(files / "index", impacts_of({0: 3, 1: 5}, {0: 4}))
    write_query_file(files / "queries.jsonl", names(4), TEXTS, impacts_of({0: 1}, {0: 1, 1: 1}, {7: 1}, {}))
    search(searching(files, "--min-idf", "0"))
    assert {qid: hits.scores.tolist() for qid, hits in read_run(files / "run").items()} == {"d1": [5]}
    search(searching(files))
    assert {qid: hits.scores.tolist() for qid, hits in read_run(files / "run").items()} == {"d0": [4, 3], "d1": [8, 4]}


@pytest.mark.java
def test_steering_is_that_of_the_integers(jvm: None, files: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(files / "index", DOCUMENTS)
    latents = QUERIES.indices[:2].tolist()
    weights: dict[str, float | str] = {f"f{latents[0]}": 0, f"f{latents[1]}": 1.5, "f7": "@80"}
    steering = f"f{latents[0]}=0, f{latents[1]}=1.5, f7=@80"
    scores = products(steer(QUERIES, weights), DOCUMENTS)
    assert (scores != products(QUERIES, DOCUMENTS)).any()

    def found() -> list[dict[str, float]]:
        run = read_run(files / "run")
        answers = [run.get(f"d{row}") for row in range(4)]
        return [dict(zip(each.docids, each.scores.tolist(), strict=True)) if each else {} for each in answers]

    search(searching(files, "--steer", steering))
    expected = [{f"d{number}": score for number, score in enumerate(row) if score} for row in scores.tolist()]
    assert found() == expected
    # Weights that are not whole stay so.
    write_query_file(files / "queries.jsonl", names(4), TEXTS, QUERIES / 2)
    search(searching(files, "--steer", f"f{latents[0]}=0"))
    halves = steer(QUERIES / 2, {f"f{latents[0]}": 0}) @ DOCUMENTS.T
    assert [max(each.values()) for each in found()] == pytest.approx(halves.max(axis=1).toarray().ravel(), rel=1e-5)
    absent = next(latent for latent in range(100) if latent not in QUERIES.indices)
    search(searching(files, "--steer", f"f{absent}=2"))
    assert f"no query has f{absent}, so this part of --steer changes nothing" in caplog.text
    for wrong, message in (("f1=-1", "finite number"), ("f1", "LATENT=FACTOR")):
        with pytest.raises(InputError, match=message):
            search(searching(files, "--steer", wrong))


@pytest.mark.java
def test_from_text_to_a_run(jvm: None, tmp_path: Path, tiny_folder: Path, tiny: Any) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    lines = [{"id": f"d{row}", "contents": f"Title {row}\nText number {row}\n"} for row in range(5)]
    lines.append({"id": "d5", "contents": "Only a title\n\n"})
    (corpus / "1.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines[:3]))
    with gzip.open(corpus / "2.jsonl.gz", "wt") as stream:
        stream.write("".join(json.dumps(line) + "\n" for line in lines[3:]))
    for shard in ("0", "1"):
        source = ["input", "--corpus", str(corpus), "--fields", "title", "text", "--shard-id", shard]
        target = ["output", "--embeddings", str(tmp_path / f"encoded-{shard}")]
        encoder = ["encoder", "--encoder", str(tiny_folder), "--fields", "title", "text", "--device", "cpu", "--fp16"]
        encode([*source, "--shard-num", "2", *target, *encoder, "--batch-size", "2", "--max-length", "99"])
    batches = [next(read_json_vectors(tmp_path / f"encoded-{shard}", width=512)) for shard in (0, 1)]
    assert [batch.docids for batch in batches] == [["d0", "d1", "d2"], ["d3", "d4", "d5"]]
    assert batches[1].documents[1:] == [{"title": "Title 4", "text": "Text number 4"}, {"title": "Only a title"}]
    contents = ["Title 3 Text number 3", "Title 4 Text number 4", "Only a title"]
    expected = tiny.quantizer.documents(tiny.encode_documents(contents)).impacts
    assert to_dicts(batches[1].impacts) == to_dicts(expected)

    index(["--input", str(tmp_path / "encoded-1"), "--index", str(tmp_path / "index")])
    (tmp_path / "topics.jsonl").write_text('{"_id": "q", "text": "Text number 4"}\n')
    searching = ["--index", str(tmp_path / "index"), "--topics", str(tmp_path / "topics.jsonl")]
    searching += ["--model", str(tiny_folder), "--device", "cpu", "--output", str(tmp_path / "run")]
    search(searching)
    query = tiny.quantizer.queries(tiny.encode_queries(["Text number 4"])).impacts
    assert max(read_run(tmp_path / "run")["q"].scores) == (query @ expected.T).max()

    write(tmp_path / "other", expected, config=dataclasses.replace(tiny.config, layer=1, backbone_sha256="0" * 64))
    with pytest.raises(IdentityError, match=tiny.config.name):
        search([*searching[:1], str(tmp_path / "other"), *searching[2:]])


@pytest.mark.java
def test_the_model_is_the_one_that_made_the_index(jvm: None, tmp_path: Path, tiny_folder: Path, tiny: Any) -> None:
    impacts = tiny.quantizer.documents(tiny.encode_documents(TEXTS)).impacts
    write(tmp_path / "index", impacts, config=dataclasses.replace(tiny.config, location=str(tiny_folder)))
    (tmp_path / "topics.tsv").write_text("q\tsecond\n")
    searching = ["--index", str(tmp_path / "index"), "--topics", str(tmp_path / "topics.tsv"), "--device", "cpu"]
    searching += ["--output", str(tmp_path / "run")]
    search(searching)
    query = tiny.quantizer.queries(tiny.encode_queries(["second"])).impacts
    assert max(read_run(tmp_path / "run")["q"].scores) == (query @ impacts.T).max()
    heaviest = f"f{query.indices[query.data.argmax()]}"
    search([*searching, "--steer", f"{heaviest}=0"])
    steered = steer(query, {heaviest: 0})
    assert max(read_run(tmp_path / "run")["q"].scores) == (steered @ impacts.T).max() < (query @ impacts.T).max()
    with pytest.raises(InputError, match="there is no latent 'f512'; this model has f0 to f511"):
        search([*searching, "--steer", "f512=0"])
    other = save_tiny_model(tmp_path / "other", seed=3)
    with pytest.raises(IdentityError, match=rf"made with tiny seed-0 .* at hand is tiny seed-3 \({other}\)"):
        search([*searching, "--encoder", str(other)])
    write(tmp_path / "lost", impacts, config=dataclasses.replace(tiny.config, location=str(tmp_path / "gone")))
    with pytest.raises(InputError, match=r"made with tiny, which is no longer at .*gone; name its place with --model"):
        search([*searching[:1], str(tmp_path / "lost"), *searching[2:]])


@pytest.mark.parametrize(
    ("line", "options", "message"),
    [
        ("{", [], "not valid JSON"),
        ("[]", [], "JSON object"),
        ('{"text": "x"}', [], "no field id or _id or docid"),
        ('{"id": "a", "text": "x"}', ["--docid-field", "key"], "no field key"),
        ('{"id": "a b", "text": "x"}', [], "white space"),
        ('{"id": "a"}', [], "neither the fields text nor 'contents'"),
        ('{"id": "a", "text": "\\ud800"}', [], "lone surrogate"),
        ('{"id": "a", "contents": "x"}', ["--fields", "title", "text"], "has 1 fields, and --fields names 2"),
        ('{"id": "a", "text": "x"}\n{"id": "a", "text": "y"}', [], "2: document id 'a' was there before"),
    ],
)
def test_a_corpus_that_cannot_be_used(
    tmp_path: Path, tiny_folder: Path, line: str, options: list[str], message: str
) -> None:
    (tmp_path / "a.jsonl").write_text(line)
    arguments = ["input", "--corpus", str(tmp_path / "a.jsonl"), *options]
    target = ["output", "--embeddings", str(tmp_path / "out"), "encoder", "--encoder", str(tiny_folder)]
    with pytest.raises(InputError, match=message):
        encode([*arguments, *target, "--device", "cpu"])
    assert not (tmp_path / "out" / "embeddings.jsonl").exists()


def run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-X", "importtime", "-m", f"pyserini_splare.{module}", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


@pytest.mark.slow
@pytest.mark.parametrize("module", ["encode", "index", "search"])
def test_help_starts_neither_java_nor_torch(module: str) -> None:
    done = run(module, "--help")
    assert done.returncode == 0
    assert f"python -m pyserini_splare.{module}" in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "|" in line}
    assert "argparse" in imported
    assert not {"torch", "transformers", "jnius", "pyserini"} & imported


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "arguments", "message"),
    [
        ("index", ["--input", "nowhere", "--index", "{}/index"], "error: there is no collection at nowhere"),
        ("index", ["--collection", "X", "--input", "y", "--index", "z"], "can only be JsonVectorCollection"),
        ("search", ["--index", "nowhere", "--topics", "nowhere.tsv", "--output", "{}/run"], "nowhere.tsv"),
        ("encode", ["input", "--corpus", "nowhere", "output", "--embeddings", "{}/out"], "no corpus at nowhere"),
        ("encode", ["output", "--embeddings", "{}/out"], "'input' is missing"),
    ],
)
def test_errors_are_one_sentence(tmp_path: Path, module: str, arguments: list[str], message: str) -> None:
    command = [sys.executable, "-m", f"pyserini_splare.{module}", *(part.format(tmp_path) for part in arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
