"""Mistakes in a config: one sentence that names the key, and what there is to choose from."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import yaml

from splare_plugins.corpus import read_run
from splare_plugins.errors import InputError
from splare_plugins.experiment.collection import open_collection
from splare_plugins.experiment.config import CollectionSettings, ExperimentConfig
from splare_plugins.experiment.run import run_experiment


def changed(settings: dict, place: str, value: object) -> dict:
    """The settings with another value at a place such as ``systems.0.kind``."""
    *way, last = [int(step) if step.isdigit() else step for step in place.split(".")]
    inner = settings
    for step in way:
        inner = inner[step]
    inner[last] = value
    return settings


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("systems.0.kind", "colbert", "systems: kind must be 'bm25' or 'dense' or 'splare' or 'splade' or 'fused'"),
        ("systems.0.document_top_k", 0, "own: document_top_k must be a number from 1, 'model' or null for all, not 0"),
        ("systems.0.query_top_k", "many", "query_top_k must be a whole number or 'model' or null, not 'many'"),
        ("systems.0.query_top_k", True, "query_top_k must be a whole number or 'model' or null, not True"),
        ("systems.0.bits", 9, "own: bits must be a number from 1 to 8, not 9"),
        ("systems.2.bits", 4, "dense: the kind dense has no setting 'bits'; it takes model"),
        ("systems.0.budget", 40, "there is no setting 'budget'; there are name, kind, model"),
        (
            "systems.0.weights",
            [1],
            "own: the kind splare has no setting 'weights'; it takes model, query_encoder",
        ),
        ("systems.0.name", "my own", "the name 'my own' must be a word"),
        ("systems.1.name", "own", "systems: 'own' is there twice"),
        (
            "systems.3.of",
            ["own", "bm25"],
            "both: of names 'bm25', which is not a system above it; there are own, short",
        ),
        ("systems.3.of", ["own"], "both: of must name two systems or more"),
        ("systems.3.weights", [1], "both: weights must be one number a fused system"),
        ("systems.3.method", "sum", "method must be 'rrf' or 'minmax' or 'zscore', not 'sum'"),
        ("systems.0", {"name": "s", "kind": "splade"}, "s: the setting 'model' is missing"),
        ("systems", [], "systems must name at least one"),
        ("collections.0.name", "../up", "must be words"),
        ("collections.0.limit", 0, "en: limit must be a number from 1"),
        ("measures", ["nDCG@10", "magic"], "measures: there is no measure 'magic'"),
        ("baseline", "bm25", "baseline names 'bm25', which is not a system; there are own, short, dense, both"),
        ("engine", "opensearch", "engine must be 'lucene' or 'memory'"),
        ("alpha", 5, "alpha must be between 0 and 1"),
        ("depth", 0, "depth must be a number from 1"),
    ],
)
def test_a_wrong_setting(settings, place, value, message):
    with pytest.raises(InputError) as refused:
        ExperimentConfig.from_dict(changed(settings, place, value))
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("collection", "message"),
    [
        ({"name": "nfcorpus"}, "'nfcorpus' is not bundled, as scifact and xquad/QUERIES-DOCUMENTS are"),
        ({"name": "xquad/de-fr"}, "ar, de, en, es, ru, zh; give it a source"),
        ({"name": "x", "source": "nowhere"}, "nowhere"),
        ({"name": "scifact", "split": "dev"}, "scifact has no dev split"),
        ({"name": "x", "source": "mteb:SciFac"}, "mteb has no task 'SciFac'; did you mean mteb:SciFact?"),
        ({"name": "x", "source": "mteb:MIRACLRetrieval/de", "split": "dev"}, "split is for folders"),
        ({"name": "x", "source": "irds:beir/scifact/test", "split": "dev"}, "split is for folders"),
        ({"name": "x", "source": "mteb:BelebeleRetrieval/acm_Arab-eng_Latn"}, "state it, such as language: en"),
    ],
)
def test_a_collection_that_is_not_there(small_data, collection, message):
    with pytest.raises(InputError) as refused:
        open_collection(CollectionSettings(**collection), small_data)
    assert message in str(refused.value)


def test_a_collection_with_other_queries_than_those_that_were_judged(small_data):
    english, other = (str(small_data / name) for name in ("xquad/en", "scifact"))
    with pytest.raises(InputError) as refused:
        open_collection(CollectionSettings(name="x", source=english, queries=other), small_data)
    assert f"x: none of the queries of {other} is judged in {english}, whose judgements are of" in str(refused.value)
    assert "give the queries that these are about" in str(refused.value)


def test_a_task_of_mteb_is_a_collection(settings, monkeypatch, tmp_path):
    from tests.corpus.test_mteb_tasks import JUDGED, task

    registry = vars(sys.modules["mteb.get_tasks"])["_TASKS_REGISTRY"]
    monkeypatch.setitem(registry, "Animals", task("Animals", ["deu-Latn"], ["dev"], same=True))
    settings["collections"] = [{"name": "animals", "source": "mteb:Animals"}]
    opened = open_collection(CollectionSettings(name="animals", source="mteb:Animals"))
    assert (opened.language, opened.qrels) == ("de", JUDGED)
    assert run_experiment(ExperimentConfig.from_dict(settings), tmp_path / "out").made == 4
    run = read_run(tmp_path / "out" / "runs" / "animals" / "dense.trec")
    assert run["d1"].docids == ["d2"] and set(run["q2"].docids) == {"d1", "d2"}  # mteb leaves out the query itself


def test_bundled_collections(small_data, tmp_path):
    with pytest.raises(InputError, match="name its data with --data"):
        open_collection(CollectionSettings(name="scifact"), tmp_path)
    german = open_collection(CollectionSettings(name="xquad/de-en"), small_data)
    english = open_collection(CollectionSettings(name="xquad/en-en"), small_data)
    assert (german.corpus, german.language) == (english.corpus, "en")
    assert german.asked != english.asked
    scifact = open_collection(CollectionSettings(name="scifact"), small_data)
    assert {query.qid for query in scifact.queries} == scifact.qrels.keys()


def test_a_model_that_cannot_be_used_is_refused_before_work_begins(settings, tmp_path):
    config = ExperimentConfig.from_dict(changed(settings, "systems.1.model", "no-such-model"))
    with pytest.raises(InputError, match="there is no model folder 'no-such-model'"):
        run_experiment(config, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_models_of_the_wrong_kind(settings, splade_wheel, tmp_path):
    systems = settings["systems"]
    systems[2]["model"] = str(splade_wheel)
    with pytest.raises(InputError, match="is not a dense encoder"):
        run_experiment(ExperimentConfig.from_dict(settings), tmp_path / "out")
    systems[2] |= {"kind": "splade"}
    with pytest.raises(InputError, match=r"has no quantiser scales.*splare calibrate"):
        run_experiment(ExperimentConfig.from_dict(settings), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_config_of_the_page_is_one():
    page = (Path(__file__).parents[2] / "docs" / "experiments.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    config = ExperimentConfig.from_dict(yaml.safe_load(shown))
    assert {system.kind for system in config.systems} == {"bm25", "dense", "splare", "fused", "rerank"}


def test_the_command(splare, settings, tmp_path):
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    ran = splare("experiment", "run", tmp_path / "config.yaml", "-o", tmp_path / "out", "--json")
    assert ran.status == 0, ran.err
    assert (ran.facts["made"], len(ran.facts["means"])) == (8, 8)
    shown = splare("experiment", "show", tmp_path / "out")
    assert shown.status == 0 and "Means over judged queries" in shown.out and "Costs" in shown.out
    refused = splare("experiment", "show", tmp_path)
    assert refused.status == 2 and "holds no experiment" in refused.err
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(changed(settings, "engine", "x")), encoding="utf-8")
    refused = splare("experiment", "run", tmp_path / "config.yaml", "-o", tmp_path / "no")
    assert refused.status == 2 and "engine must be" in refused.err and "config.yaml" in refused.err
