"""Labels of latents: the table, Neuronpedia's exports, and where the labels are shown."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from splare_plugins.errors import InputError
from splare_plugins.heads import SparseAutoencoder
from splare_plugins.heads.importers.neuronpedia import read_neuronpedia
from splare_plugins.heads.labels import LABELS, Label, read_labels, summary, write_labels
from splare_plugins.model.splare import SplareModel
from splare_plugins.retrieval.explain import explain
from tests.tiny import save_tiny_model

SAE = {"modelId": "llama3.1-8b", "layer": "26-llamascope-res-131k"}
WIDTH, LAYER = 131_072, 26


def record(index: object, text: object, **more: object) -> dict:
    """One line of an export, with the fields that matter here and some that do not."""
    about = {"typeName": "oai_token-act-pair", "explanationModelName": "gpt-4o-mini", "embedding": [0.5, 0.25]}
    return {**SAE, "index": index, "description": text, **about, **more}


def write_lines(path: Path, *records: dict) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(each) + "\n" for each in records).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def test_a_table_is_read_back(tmp_path):
    labels = {7: Label("Städte", "a person"), 0: Label("numbers\nand dates", "gpt")}
    write_labels(tmp_path / LABELS, labels)
    assert read_labels(tmp_path / LABELS, 8) == labels
    assert pq.read_schema(tmp_path / LABELS).names == ["latent", "text", "source"]
    assert summary(labels, 8) == "2 of 8 latents (a person: 1, gpt: 1)"
    assert [path.name for path in tmp_path.iterdir()] == [LABELS]


@pytest.mark.parametrize(
    "columns",
    [
        {"latent": [8], "text": ["a"], "source": ["b"]},
        {"latent": [-1], "text": ["a"], "source": ["b"]},
        {"latent": [1, 1], "text": ["a", "b"], "source": ["b", "b"]},
        {"latent": [1], "text": [None], "source": ["b"]},
        {"latent": [1], "text": ["a"]},
        {"latent": ["one"], "text": ["a"], "source": ["b"]},
    ],
)
def test_other_tables_are_refused(columns, tmp_path):
    pq.write_table(pa.table(columns), tmp_path / LABELS)
    with pytest.raises(InputError, match="splare sae label"):
        read_labels(tmp_path / LABELS, 8)


def test_a_damaged_table_is_refused(tmp_path):
    write_labels(tmp_path / LABELS, {0: Label("a", "b")})
    data = (tmp_path / LABELS).read_bytes()
    (tmp_path / LABELS).write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="is not a table of labels"):
        read_labels(tmp_path / LABELS, 8)


def test_an_export_is_read_in_the_order_of_its_batches(tmp_path):
    write_lines(tmp_path / "batch-10.jsonl.gz", record("3", "late"), record("4", " "))
    write_lines(
        tmp_path / "batch-2.jsonl.gz", record("3", " early "), record(5, "five", explanationModelName="gemini")
    )
    (tmp_path / "notes.txt").write_text("not an export")
    labels, counts = read_neuronpedia([tmp_path], width=WIDTH, layer=LAYER)
    assert labels == {3: Label("early", "gpt-4o-mini"), 5: Label("five", "gemini")}
    assert counts.to_dict() == {
        "read": 4,
        "labels": 2,
        "repeated": 1,
        "empty": 1,
        "sources": {"gpt-4o-mini": 1, "gemini": 1},
    }
    assert counts.read == counts.labels + counts.repeated + counts.empty


@pytest.mark.parametrize("wrapped", [True, False])
def test_the_former_api_and_a_single_feature_are_read(tmp_path, wrapped):
    records = [record("3", "three", explanationModelName=None), record("4", "half \ud800", typeName=None)]
    (tmp_path / "export.json").write_text(json.dumps({"explanations": records} if wrapped else records))
    labels, _ = read_neuronpedia([tmp_path / "export.json"], width=WIDTH, layer=None)
    assert labels == {3: Label("three", "oai_token-act-pair"), 4: Label("half ?", "gpt-4o-mini")}


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ([record(WIDTH, "a")], r"e.jsonl:1 explains latent 131072, but this SAE has only 131072"),
        ([record("-1", "a")], "not a latent's number"),
        ([record("1.5", "a")], "not a latent's number"),
        ([record(1, "a", layer="25-llamascope-res-131k")], "layer 25, but this one belongs to layer 26"),
        ([record(1, "a", layer="26-llamascope-res-32k")], "another width"),
        ([record(1, "a", layer="26-llamascope-mlp-131k")], "another place"),
        ([record(1, "a"), record(2, "b", layer="26-gemmascope-res-131k")], "e.jsonl:2 .*files of one SAE"),
        ([{"index": "1", "maxActApprox": 3.0}], "not its features or activations"),
        ([[1]], "each line must hold a JSON object"),
        ([record(1, None)], "no explanation with a text"),
        ([], "no explanation with a text"),
    ],
)
def test_what_is_no_export_of_this_sae_is_refused(records, words, tmp_path):
    path = write_lines(tmp_path / "e.jsonl", *records)
    with pytest.raises(InputError, match=words) as refusal:
        read_neuronpedia([path], width=WIDTH, layer=LAYER)
    assert "\n" not in str(refusal.value)


def test_files_that_cannot_be_read_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "cut.jsonl").write_text('{"index": "1", "desc')
    (tmp_path / "odd.json").write_bytes(b"\xff")
    (tmp_path / "number.json").write_text("3")
    (tmp_path / "labels.csv").write_text("1,a")
    for name, words in (
        ("empty", "holds no .jsonl"),
        ("cut.jsonl", "cut.jsonl:1: this line is not valid JSON"),
        ("odd.json", "odd.json is not valid JSON"),
        ("number.json", "must hold a list"),
        ("labels.csv", "must end in"),
        ("missing.json", "cannot read"),
    ):
        with pytest.raises(InputError, match=words):
            read_neuronpedia([tmp_path / name], width=WIDTH, layer=LAYER)


def labelled_model(folder: Path) -> Path:
    """A model folder whose latents that a fox activates have labels."""
    save_tiny_model(folder)
    matches = explain(SplareModel.from_pretrained(folder, device="cpu"), "fox", "fox").matches
    write_labels(folder / "head" / LABELS, {int(each.term[1:]): Label(f"about {each.term}", "me") for each in matches})
    return folder


@pytest.fixture
def labelled(tmp_path):
    return labelled_model(tmp_path / "model")


def test_labels_name_latents_and_change_nothing_else(labelled, tiny):
    model = SplareModel.from_pretrained(labelled, device="cpu")
    assert model.config.index_fingerprint() == tiny.config.index_fingerprint()
    matches = explain(model, "fox", "fox").matches
    assert [match.name for match in matches] == [f"about {match.term}" for match in matches]
    unlabelled = next(latent for latent in range(model.config.width) if latent not in model.head.labels)
    assert model.head.name(unlabelled) == f"f{unlabelled}"


def test_labels_travel_with_head_and_model(labelled, tmp_path):
    model = SplareModel.from_pretrained(labelled, device="cpu")
    model.save_pretrained(tmp_path / "copied")
    SplareModel(model.config, model.backbone, model.head).save_pretrained(tmp_path / "written")
    for folder in (tmp_path / "copied", tmp_path / "written"):
        assert SparseAutoencoder.load(folder / "head").labels == model.head.labels
