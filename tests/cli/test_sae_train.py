"""``splare sae train``: from texts to an index over latents of one's own."""

from __future__ import annotations

import json

import pytest

from splare_plugins.config import HEAD_CARD
from splare_plugins.heads import SparseAutoencoder
from splare_plugins.machine.files import read_json
from tests.training.test_autoencoder import texts, write


def test_from_texts_to_a_run(splare, tiny_folder, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    write(data / "corpus.jsonl", texts(60))
    queries = [{"_id": f"q{number}", "text": text} for number, text in enumerate(texts(5, seed=1))]
    (data / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)) + "\n")
    backbone, sae, model = tiny_folder / "backbone", tmp_path / "sae", tmp_path / "model"
    command = ["sae", "train", data, "--backbone", backbone, "--layer", 1, "--width", 64, "--k", 8, "-o", sae]
    command += ["--tokens", 6000, "--batch", 128, "--buffer", 512, "--device", "cpu"]
    trained = splare(*command, "--json")
    assert trained.status == 0, trained.err
    facts = trained.facts
    assert (facts["layer"], facts["width"], facts["k"], facts["trained_tokens"]) == (1, 64, 8, 46 * 128)
    assert facts["explained_variance"] > facts["explained_untrained"]
    assert (facts["l0"] <= 8, facts["dead_after"], facts["passes"] > 1) == (True, 600, True)
    assert trained.err.count("of a batch's variance explained") == 10
    assert facts["next"].startswith("splare assemble --backbone ")
    inspected = splare("sae", "inspect", sae, "--backbone", backbone, "--text", "Sparse latents.", "--json").facts
    assert inspected["explained_variance"] == facts["explained_variance"]
    assert inspected["warning"] is None
    again = splare(*command)
    assert (again.status, "--overwrite" in again.err) == (2, True)
    for verb in (
        ["assemble", "--backbone", backbone, "--sae", sae, "-o", model],
        ["calibrate", model, data],
        ["index", "memory", data, "-o", tmp_path / "index", "-M", model],
        ["search", tmp_path / "index", data, "-o", tmp_path / "run", "-M", model, "--engine", "memory"],
    ):
        outcome = splare(*verb)
        assert outcome.status == 0, outcome.err
    assert len((tmp_path / "run").read_text().splitlines()) > 5
    assert SparseAutoencoder.load(model / "head").card["source"].startswith("splare sae train")


@pytest.mark.parametrize("activation", ["batchtopk", "jumprelu"])
def test_other_activations_become_models(splare, tiny_folder, tmp_path, activation):
    corpus = write(tmp_path / "corpus.jsonl", texts(60))
    backbone, sae, model = tiny_folder / "backbone", tmp_path / "sae", tmp_path / "model"
    command = ["sae", "train", corpus, "--backbone", backbone, "--layer", 1, "--width", 64, "--k", 8, "-o", sae]
    command += ["--tokens", 6000, "--batch", 128, "--buffer", 512, "--device", "cpu", "--activation", activation]
    trained = splare(*command, "--json")
    assert trained.status == 0, trained.err
    assert (trained.facts["activation"], trained.facts["k"]) == (activation, 8)
    assert trained.facts["explained_variance"] > trained.facts["explained_untrained"]
    assert "bitsandbytes" not in trained.err
    inspected = splare("sae", "inspect", sae, "--backbone", backbone, "--text", texts(1)[0], "--json").facts
    assert inspected["warning"] is None
    for verb in (
        ["assemble", "--backbone", backbone, "--sae", sae, "-o", model],
        ["calibrate", model, corpus, "--queries", corpus],
        ["index", "memory", corpus, "-o", tmp_path / "index", "-M", model],
    ):
        outcome = splare(*verb)
        assert outcome.status == 0, outcome.err


def test_an_activation_without_its_library_is_one_sentence(splare, tiny_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("splare_plugins.machine.packages.find_spec", lambda name: None)
    corpus = write(tmp_path / "corpus.jsonl", texts(60))
    command = ["sae", "train", corpus, "--backbone", tiny_folder / "backbone", "--layer", 1, "--width", 64]
    outcome = splare(*command, "--activation", "jumprelu", "-o", tmp_path / "sae")
    assert (outcome.status, "pip install 'splare-plugins[saelens]'" in outcome.err) == (2, True), outcome.err


def test_two_are_compared(splare, tiny_folder, small_data, tmp_path):
    corpus = small_data / "xquad" / "en"
    command = ["sae", "train", corpus, "--backbone", tiny_folder / "backbone", "--layer", 1, "--k", 8]
    command += ["--batch", 128, "--buffer", 512, "--device", "cpu", "--json"]
    for name, width in (("a", 64), ("b", 128)):
        made = splare(*command, "--width", width, "--tokens", 4 * width * 2, "-o", tmp_path / name)
        assert made.status == 0, made.err
    a, b = tmp_path / "a", tmp_path / "b"
    assert read_json(a / HEAD_CARD)["base_model"] == "backbone"
    assert str(tiny_folder) not in (a / HEAD_CARD).read_text()
    alone = splare("sae", "compare", a, b, corpus, "--device", "cpu")
    assert (alone.status, "trained on backbone; name that model with --backbone" in alone.err) == (2, True)
    where = ["--backbone", tiny_folder / "backbone", "--tokens", 300, "--device", "cpu"]
    outcome = splare("sae", "compare", a, b, corpus, *where, "--json")
    assert outcome.status == 0, outcome.err
    facts = outcome.facts
    assert (facts["tokens"], facts["a"]["width"], facts["b"]["width"]) == (300, 64, 128)
    assert facts["a"]["l0"] <= 8
    assert 0 < facts["a"]["overlap"] < 1
    assert (facts["overlap_same_id"], facts["notes"]) == (None, [])
    assert all(0 <= value <= 1 for pair in facts["budgets"].values() for value in pair)
    assert {"all/all", "40/400"} <= facts["budgets"].keys()
    shown = splare("sae", "compare", a, tiny_folder, corpus / "corpus.jsonl.gz", *where)
    assert shown.status == 0, shown.err
    assert "nDCG needs judgements" in shown.out
    assert "overlap" in shown.out
    assert splare("sae", "compare", a, tmp_path / "none", corpus).status == 2


def test_what_cannot_be_trained_is_one_sentence(splare, tiny_folder, tmp_path):
    corpus = write(tmp_path / "corpus.jsonl", texts(60))
    command = ["sae", "train", corpus, "--backbone", tiny_folder / "backbone", "-o", tmp_path / "sae"]
    for options, words in (
        (["--layer", 7, "--width", 64], "there is no layer 7"),
        (["--layer", 1, "--width", 16], "cannot keep 32 of 16 latents"),
        (["--layer", 1, "--width", 4096], "lower --width to"),
    ):
        outcome = splare(*command, *options)
        assert (outcome.status, words in outcome.err) == (2, True), outcome.err
        assert not (tmp_path / "sae").exists()
