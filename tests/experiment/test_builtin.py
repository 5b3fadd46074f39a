"""An experiment as a reader would run it: Lucene, the built-in model, a SPLADE model, real questions."""

from __future__ import annotations

import csv
import json

import pytest

from splare_plugins.corpus import read_run
from tests.cli.conftest import DATA, cut

CONFIG = """
systems:
  - {name: bm25, kind: bm25}
  - {name: dense, kind: dense}
  - {name: splare, kind: splare}
  - {name: short, kind: splare, query_top_k: 4, document_top_k: 16}
  - {name: splade, kind: splade, model: splade}
  - {name: both, kind: fused, of: [bm25, splare], method: minmax}
collections:
  - {name: english, source: en, limit: 40}
  - {name: chinese, source: en, queries: zh, limit: 40}
baseline: splare
"""


@pytest.mark.java
@pytest.mark.model
@pytest.mark.slow
def test_real_systems_on_a_part_of_xquad(splare, splade_wheel, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for language in ("en", "zh"):
        cut(DATA / "xquad" / language, tmp_path / language, 24)
    assert splare("calibrate", splade_wheel, "en", "-o", "splade").status == 0
    (tmp_path / "config.yaml").write_text(CONFIG, encoding="utf-8")
    ran = splare("experiment", "run", "config.yaml", "-o", "out", "--json")
    assert ran.status == 0, ran.err
    figures = {(each["collection"], each["system"]): each["nDCG@10"] for each in ran.facts["means"]}
    assert len(figures) == 12 and ran.facts["made"] == 12
    # Chinese words are not those of the paragraphs; the model does not mind, and a cut to a tenth costs something.
    assert figures["english", "bm25"] > 0.8 > figures["chinese", "bm25"]
    assert figures["chinese", "splare"] > 0.8 and figures["chinese", "dense"] > 0.7
    assert figures["chinese", "short"] < figures["chinese", "splare"]
    with (tmp_path / "out" / "tables" / "figures.csv").open(encoding="utf-8") as stream:
        marked = {row["system"]: row["chinese nDCG@10"].endswith("*") for row in csv.DictReader(stream)}
    assert marked["splade"] and not marked["splare"]

    # The same as by hand, through Lucene.
    assert splare("index", "lucene", "en", "-o", "index", "--top-k", 16).status == 0
    assert splare("search", "index", "zh", "-o", "by-hand", "--top-k", 4, "-k", 100).status == 0
    by_hand, found = read_run("by-hand"), read_run("out/runs/chinese/short.trec")
    assert 30 < len(found) <= 40  # four latents do not find something for every question
    assert all(hits.scores.tolist() == by_hand[qid].scores.tolist() for qid, hits in found.items())

    costs = json.loads((tmp_path / "out" / "runs" / "chinese" / "splare.json").read_text(encoding="utf-8"))["costs"]
    assert 0 < costs["flops"] < costs["query_latents"] <= 40 < costs["document_latents"] <= 400
    again = splare("experiment", "run", "config.yaml", "-o", "out", "--json")
    assert (again.facts["made"], again.facts["found"]) == (0, 12)
    assert splare("experiment", "show", "out").out.count("| both ") == 3
