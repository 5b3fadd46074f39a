"""``splare sae train``: from texts to an index over latents of one's own."""

from __future__ import annotations

import json

from splare_plugins.heads import SparseAutoencoder
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
