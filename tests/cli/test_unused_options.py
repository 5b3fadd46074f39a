"""An option that what was given has no use for is refused, and not dropped without a word."""

from __future__ import annotations

import json

import pytest

from tests.cli.test_assemble import corpus
from tests.heads.importers import replicas
from tests.model.test_assemble import save_llama
from tests.tiny import save_tiny_model

__all__ = ["corpus"]

TEXTS = ("one two three", "two three four")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = [json.dumps({"_id": f"d{number}", "text": text}) for number, text in enumerate(TEXTS)]
    (tmp_path / "c.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "q.tsv").write_text("q1\ttwo three\n")
    save_tiny_model(tmp_path / "model")
    return tmp_path


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["encode", "c.jsonl", "-o", "e", "-M", "model", "--columns", "id,text"], "omit --columns"),
        (["encode", "c.jsonl", "-o", "e", "-M", "model", "--quoting", "csv"], "omit --quoting"),
        (["index", "memory", "c.jsonl", "-o", "i", "-M", "model", "--columns", "id,text"], "omit --columns"),
        (["search", "index", "c.jsonl", "-o", "run", "--columns", "id,text"], "omit --columns"),
        (["search", "index", "c.jsonl", "-o", "run", "--quoting", "none"], "omit --quoting"),
        (["search", "memory", "q.tsv", "-i", "index", "--engine", "lucene", "-o", "run"], "omit --engine lucene"),
        (
            ["search", "index", "q.tsv", "-o", "run", "--query-encoder", "static", "--dtype", "float32"],
            "omit --device",
        ),
        (["explain", "a", "b", "-M", "model", "--columns", "id,text"], "add that, or omit --columns"),
        (["explain", "a", "b", "-M", "model", "--query-id-field", "x"], "add that, or omit --query-id-field"),
        (["explain", "a", "d1", "-M", "model", "--corpus", "c.jsonl", "--columns", "id,text"], "omit --columns"),
        (["explain", "d1", "b", "-M", "model", "--queries", "c.jsonl", "--query-columns", "i,t"], "omit --query-col"),
        (["export", "model", "-o", "graph", "--int8", "--texts", "64"], "--calibrate, or omit --texts"),
        (["export", "model", "-o", "graph", "--revision", "main"], "has no revision 'main'; omit it"),
    ],
    ids=lambda value: " ".join(value[-4:]) if isinstance(value, list) else "",
)
def test_they_are_named(splare, here, command, words):
    assert splare("index", "memory", "c.jsonl", "-o", "index", "-M", "model").status == 0
    outcome = splare(*command)
    assert outcome.status == 2 and words in " ".join(outcome.err.split()), outcome.err
    assert not {"e", "i", "run", "graph"} & {path.name for path in here.iterdir()}


def test_of_saes(splare, here):
    backbone, sae = save_llama(here / "backbone"), replicas.llama_scope(here / "published").folder
    named = splare("assemble", "--backbone", backbone, "--sae", sae, "-o", "new", "--revision", "main")
    assert named.status == 2 and "has no revision 'main'; omit it" in named.err
    assert splare("sae", "import", sae, "-o", "sae").status == 0
    read = splare("sae", "inspect", "sae", "--text", "some prose")
    assert read.status == 2 and "--text is what a --backbone reads" in read.err


def test_explain_reads_sources_as_other_verbs_do(splare, here):
    (here / "c.tsv").write_text('d1\tsome title\t"two ""three"""\n')
    (here / "q.tsv").write_text('de\tq1\t"two ""three"""\n')
    plain = splare("explain", 'two "three"', 'some title two "three"', "-M", "model", "--json").facts
    named = ["--corpus", "c.tsv", "--columns", "key,heading,body", "--id-field", "key", "--title-field", "heading"]
    named += ["--text-field", "body", "--quoting", "csv", "--queries", "q.tsv", "--query-columns", "lang,key,words"]
    named += ["--query-id-field", "key", "--query-field", "words", "--query-quoting", "csv"]
    assert splare("explain", "q1", "d1", "-M", "model", *named, "--json").facts == {**plain, "docid": "d1"}


def test_explain_keeps_as_many_latents_as_the_index(splare, here):
    options = ["-M", "model", "--top-k"]
    assert splare("index", "memory", "c.jsonl", "-o", "seven", *options, 7).status == 0
    assert splare("encode", "c.jsonl", "-o", "encoded", *options, 7).status == 0
    assert splare("index", "memory", "encoded", "-o", "by-parts").status == 0
    assert splare("index", "memory", "c.jsonl", "-o", "all", *options, "none").status == 0
    asked = ["explain", TEXTS[0], "d1", "--corpus", "c.jsonl", "--json"]
    counts = {}
    for name in ("seven", "by-parts", "all"):
        searched = splare("search", name, "q.tsv", "-o", "run", "-k", 1)
        assert searched.status == 0, searched.err
        facts = splare(
            "explain", "q1", "d1", "--queries", "q.tsv", "--corpus", "c.jsonl", "--index", name, "--json"
        ).facts
        scores = {line.split()[2]: float(line.split()[4]) for line in (here / "run").read_text().splitlines()}
        assert scores.get("d1", facts["score"]) == facts["score"]
        counts[name] = facts["document_latents"]
        assert splare("inspect", name, "--json").facts["top k"] == (None if name == "all" else 7)
    assert counts["seven"] == counts["by-parts"] == 7 < counts["all"]
    stated = splare(*asked, "--index", "seven", "--document-top-k", 3, "--query-top-k", 2).facts
    assert (stated["document_latents"], stated["query_latents"]) == (3, 2)
    refused = splare(*asked, "--index", "seven", "--query-top-k", "many")
    assert refused.status == 2
