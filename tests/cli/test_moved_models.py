"""Indexes whose model was moved, deleted or replaced since, and texts that an index keeps."""

from __future__ import annotations

import shutil

import pytest

from tests.tiny import save_tiny_model

ENGINES = [pytest.param("lucene", marks=pytest.mark.java), "memory"]
VERBS = ["search", "explain"]


@pytest.fixture
def files(tmp_path, tiny_folder):
    """A corpus, queries, and a model that may be moved."""
    (tmp_path / "c.tsv").write_text("d1\tone\nd2\ttwo one\n", encoding="utf-8")
    (tmp_path / "q.tsv").write_text("q1\tone\n", encoding="utf-8")
    shutil.copytree(tiny_folder, tmp_path / "model")
    return tmp_path


def asked(verb, files, *options):
    if verb == "search":
        return ("search", files / "index", files / "q.tsv", "-o", files / "run", *options)
    return ("explain", "one", "d1", "--index", files / "index", "--corpus", files / "c.tsv", *options)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("verb", VERBS)
def test_a_model_that_was_moved_is_named_by_its_new_place(splare, files, engine, verb):
    assert splare("index", engine, files / "c.tsv", "-o", files / "index", "-M", files / "model").status == 0
    assert splare(*asked(verb, files)).status == 0
    (files / "run").unlink(missing_ok=True)
    (files / "model").rename(files / "elsewhere")
    lost = splare(*asked(verb, files))
    assert lost.status == 2
    said = " ".join(lost.err.split())
    assert f"is no longer at {files / 'model'}; name its place with --model" in said
    assert "Loading" not in lost.err
    assert not (files / "run").exists()
    found = splare(*asked(verb, files, "--model", files / "elsewhere"))
    assert found.status == 0, found.err


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("named", [False, True], ids=["at its old place", "by --model"])
def test_another_model_in_its_place_is_refused(splare, files, verb, named):
    splare("index", "memory", files / "c.tsv", "-o", files / "index", "-M", files / "model")
    shutil.rmtree(files / "model")
    other = save_tiny_model(files / ("other" if named else "model"), seed=1)
    refused = splare(*asked(verb, files, *(("--model", other) if named else ())))
    assert refused.status == 2
    assert "seed-0" in refused.err and "seed-1" in refused.err
    assert not (files / "run").exists()


def test_shards_of_a_model_that_is_gone_are_indexed_without_it(splare, files):
    splare("encode", files / "c.tsv", "-o", files / "encoded", "-M", files / "model")
    shutil.rmtree(files / "model")
    assert splare("index", "memory", files / "encoded", "-o", files / "index").status == 0
    assert f"no longer at {files / 'model'}" in " ".join(splare(*asked("search", files)).err.split())


@pytest.mark.java
def test_explain_takes_the_text_that_lucene_keeps(splare, files):
    command = ("index", "lucene", files / "c.tsv", "-o", files / "index", "-M", files / "model")
    splare(*command)
    short = ("explain", "one", "d2", "--index", files / "index", "--json")
    refused = splare(*short)
    assert refused.status == 2
    assert "keeps no text of a document 'd2'" in " ".join(refused.err.split())
    expected = splare(*short, "--corpus", files / "c.tsv").facts
    splare(*command, "--store-text", "--overwrite")
    assert splare(*short).facts == expected
    missing = splare("explain", "one", "d9", "--index", files / "index")
    assert missing.status == 2 and "'d9'" in missing.err


def test_explain_says_so_where_no_text_is_kept(splare, files):
    made = splare("index", "pisa", files / "c.tsv", "-o", files / "index", "-M", files / "model")
    assert made.status == 0, made.err
    short = ("explain", "one", "d2", "--index", files / "index", "--json")
    refused = splare(*short)
    assert refused.status == 2
    assert "--corpus" in refused.err
    assert splare(*short, "--corpus", files / "c.tsv").facts["score"] > 0
    # Of a ranking there are the scores, and a sentence.
    ranking = splare("explain", "--query", "one", "--index", files / "index")
    assert ranking.status == 0 and "score" in ranking.out and "neither the text nor the impacts" in ranking.out


def test_explain_shows_the_impacts_where_no_text_is_kept(splare, files):
    splare("index", "memory", files / "c.tsv", "-o", files / "index", "-M", files / "model")
    short = ("explain", "one", "d2", "--index", files / "index", "--json")
    bare, whole = splare(*short).facts, splare(*short, "--corpus", files / "c.tsv").facts
    assert bare["score"] == whole["score"] and bare["document"] is None and "not at hand" in bare["notes"][0]
    assert [each["term"] for each in bare["matches"]] == [each["term"] for each in whole["matches"]]
