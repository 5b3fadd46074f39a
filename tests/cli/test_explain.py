"""``splare explain`` of rankings and of two documents, into files; ``--steer`` there and in ``splare search``."""

from __future__ import annotations

import json

import pytest

from splare_plugins.corpus.trec import read_run
from splare_plugins.impacts import latent_id
from splare_plugins.steering import parse_steering, steer
from tests.tiny import TEXTS


@pytest.fixture(scope="module")
def files(tiny_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("explain")
    lines = [json.dumps({"_id": f"d{n}", "text": f"{text} word{n}"}) for n, text in enumerate(TEXTS)]
    (folder / "c.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "q.tsv").write_text("q1\tthe quick fox\nq2\tSuchindex\n", encoding="utf-8")
    return folder


@pytest.fixture
def index(splare, files, tiny_folder):
    place = files / "index"
    if not place.exists():
        made = splare("index", "memory", files / "c.jsonl", "-o", place, "-M", tiny_folder)
        assert made.status == 0, made.err
    return place


def test_a_ranking_in_all_forms(splare, files, index, tmp_path):
    asked = ("explain", "--index", index, "--query", "the quick fox", "--corpus", files / "c.jsonl", "-k", 2)
    facts = splare(*asked, "--json").facts
    assert facts["documents"][0]["docid"] == "d0" and len(facts["documents"]) == 2
    shown = splare(*asked).out
    assert "1. d0: score" in shown and "fired in the document on" in shown
    for suffix in ("html", "json", "txt"):
        file = tmp_path / f"why.{suffix}"
        assert splare(*asked, "-o", file).out == f"explanation written to {file}\n"
    assert json.loads((tmp_path / "why.json").read_text(encoding="utf-8")) == facts
    assert (tmp_path / "why.txt").read_text(encoding="utf-8").count("score") >= 2
    assert (tmp_path / "why.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    # The first word is the query too, and an id where queries are named.
    assert splare("explain", "the quick fox", *asked[1:3], *asked[5:], "--json").facts == facts
    assert splare("explain", "q1", *asked[1:3], *asked[5:], "--queries", files / "q.tsv", "--json").facts == facts


def test_two_documents(splare, files, index):
    asked = ("explain", "the quick fox", "d2", "--against", "d0", "--index", index, "--corpus", files / "c.jsonl")
    facts = splare(*asked, "--json").facts
    assert (facts["above"]["docid"], facts["below"]["docid"]) == ("d0", "d2")
    ahead = facts["above"]["score"] - facts["below"]["score"]
    assert sum(row["difference"] for row in facts["differences"]) == ahead
    assert f"d0 stands above d2 by {ahead:,}" in splare(*asked).out


def test_steering_explains_what_steered_search_finds(splare, files, index, tiny, tmp_path):
    asked = ("explain", "the quick fox", "d0", "--index", index, "--json")
    plain = splare(*asked).facts
    steering = f"{plain['matches'][0]['term']}=0,{plain['matches'][1]['term']}=2,f3=@80"
    steered = splare(*asked, "--steer", steering).facts
    search = ("search", index, files / "q.tsv", "-o", tmp_path / "run.trec", "--steer", steering)
    assert splare(*search).status == 0
    run = read_run(tmp_path / "run.trec")
    found = dict(zip(run["q1"].docids, run["q1"].scores.tolist(), strict=True))
    query = steer(tiny.quantizer.queries(tiny.encode_queries(["the quick fox"])).impacts, parse_steering(steering))
    document = tiny.quantizer.documents(tiny.encode_documents([f"{TEXTS[0]} word0"])).impacts
    assert found["d0"] == steered["score"] == int((query @ document.T).toarray()[0, 0]) != plain["score"]


def test_a_factor_on_what_no_query_has_is_told(splare, files, index, tiny, tmp_path):
    asked = [tiny.quantizer.queries(tiny.encode_queries(["the quick fox", "Suchindex"])).impacts.indices]
    idle = next(f"f{n}" for n in range(512) if n not in set(asked[0].tolist()))
    assert latent_id(idle) < 512
    outcome = splare("search", index, files / "q.tsv", "-o", tmp_path / "run.trec", "--steer", f"{idle}=2")
    assert outcome.status == 0 and f"no query has {idle}" in outcome.err
    assert f"lacks {idle}," in splare("explain", "fox", "d0", "--index", index, "--steer", f"{idle}=2").out


@pytest.mark.parametrize("verb", ["search", "explain"])
@pytest.mark.parametrize(
    ("steering", "said"),
    [
        ("f512=0", "there is no latent 'f512'; this model has f0 to f511"),
        ("f7=nan", "must be a finite number of at least 0"),
        ("f7=-1", "must be a finite number of at least 0"),
        ("f7=1e999", "must be a finite number of at least 0"),
        ("f7=@0", "whole number from 1 to 255"),
        ("seven", "--steer takes LATENT=FACTOR"),
        ("f7=1,f7=0", "--steer names f7 twice"),
    ],
)
def test_steering_that_cannot_be(splare, files, index, tmp_path, verb, steering, said):
    rest = [index, files / "q.tsv", "-o", tmp_path / "run.trec"] if verb == "search" else ["a", "d0", "--index", index]
    outcome = splare(verb, *rest, "--steer", steering)
    assert outcome.status == 2
    assert said in outcome.err.splitlines()[-1] and outcome.err.count("error:") == 1
    assert not (tmp_path / "run.trec").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "name a query"),
        (["fox"], "name a document after the query, or an index"),
        (["fox", "--against", "dog"], "--against names a second document and wants a first"),
        (["fox", "dog", "--query", "cat"], "the query is given twice"),
        (["fox", "dog", "-o", "why.pdf"], "why.pdf must be a file that ends in .html, .json or .txt"),
        (["fox", "dog", "-o", "here.html"], "here.html must be a file"),
    ],
)
def test_what_is_missing_or_too_much_is_told(splare, tiny_folder, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.html").mkdir()
    outcome = splare("explain", *words, "-M", tiny_folder)
    assert outcome.status == 2 and said in outcome.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--corpus", "c.tsv"], "add --index, or omit --corpus"),
        (["--index", "nowhere"], "there is no Lucene index at nowhere"),
        (["--index", "here", "--query-encoder", "static", "--device", "cpu"], "runs on the processor; omit --device"),
    ],
)
def test_a_page_that_cannot_be_is_one_sentence(splare, tmp_path, monkeypatch, options, said):
    monkeypatch.chdir(tmp_path)
    outcome = splare("serve", *options)
    assert outcome.status == 2 and said in outcome.err
