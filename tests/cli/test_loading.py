"""The options that say how a model is loaded."""

from __future__ import annotations

import pytest
import torch
from typer.testing import CliRunner

from splare_plugins.cli.app import app
from splare_plugins.heads import SparseAutoencoder
from splare_plugins.model.splare import SplareModel
from tests.backbone.families import LAYER, config_of, load, save_family
from tests.tiny import TEXTS


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory):
    folder = save_family("wide-llama", tmp_path_factory.mktemp("cli"))
    torch.manual_seed(0)
    head = SparseAutoencoder(torch.randn(64, 64), torch.zeros(64))
    model = SplareModel(config_of(layer=LAYER, width=64), load(folder, layer=LAYER), head)
    model.calibrate(TEXTS, TEXTS)
    model.save_pretrained(folder / "model")
    return folder / "model"


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.jsonl"
    path.write_text('{"_id": "d1", "text": "one"}\n{"_id": "d2", "text": "another"}\n', encoding="utf-8")
    (tmp_path / "queries.tsv").write_text("q1\tone\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("verb", ["encode", "search", "explain", "demo", "index memory", "index lucene"])
def test_every_verb_that_runs_a_model_takes_them(verb):
    shown = CliRunner().invoke(app, [*verb.split(), "--help"], env={"COLUMNS": "200"}).output
    assert all(option in shown for option in ("--device", "--dtype", "--attention", "--quantize")), shown


@pytest.mark.parametrize(
    "options",
    [
        ("--dtype", "bfloat16"),
        ("--dtype", "float32", "--attention", "eager"),
        ("--device", "spread"),
        ("--device", "cpu", "--quantize", "none"),
    ],
)
def test_how_weights_lie_does_not_change_the_identity(splare, llama_folder, corpus, tmp_path, options):
    encoded = splare("encode", corpus, "-o", tmp_path / "encoded", "-M", llama_folder, *options)
    assert encoded.status == 0, encoded.err
    assert splare("index", "memory", tmp_path / "encoded", "-o", tmp_path / "index", "-M", llama_folder).status == 0


def test_an_index_of_quantised_weights_is_searched_with_them_and_not_without(splare, llama_folder, corpus, tmp_path):
    model = ("-M", llama_folder)
    made = splare("index", "memory", corpus, "-o", tmp_path / "index", *model, "--quantize", "8bit")
    assert made.status == 0, made.err
    asked = (
        "search",
        tmp_path / "index",
        tmp_path / "queries.tsv",
        "-o",
        tmp_path / "run",
        "--engine",
        "memory",
        *model,
    )
    refused = splare(*asked)
    assert refused.status == 2
    assert "in 8bit" in refused.err
    assert not (tmp_path / "run").exists()
    assert splare(*asked, "--quantize", "8bit").status == 0
    assert {line.split()[2] for line in (tmp_path / "run").read_text().splitlines()} == {"d1", "d2"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--dtype", "int8"), "there is no dtype 'int8'"),
        (("--attention", "fast"), "there is no attention 'fast'"),
        (("--attention", "flash_attention_2"), "flash-attn"),
        (("--quantize", "2bit"), "there is no quantisation '2bit'"),
        (("--device", "gpu"), "the device 'gpu' cannot be used here"),
    ],
)
def test_values_that_are_not_there_are_one_sentence(splare, llama_folder, corpus, tmp_path, options, words):
    outcome = splare("encode", corpus, "-o", tmp_path / "encoded", "-M", llama_folder, *options)
    assert outcome.status == 2
    assert words in outcome.err
    assert "Traceback" not in outcome.err
    assert not (tmp_path / "encoded").exists()
