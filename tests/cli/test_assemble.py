"""``splare assemble`` and ``splare calibrate``: from a published SAE to an index, and what stands in the way."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from splare_plugins.config import SplareConfig
from splare_plugins.impacts import MAX_IMPACT
from splare_plugins.model.splare import SplareModel
from tests.heads.importers import replicas
from tests.heads.importers.replicas import LAYER, D
from tests.model.test_assemble import save_llama
from tests.model.test_splade import save_random
from tests.tiny import TEXTS, save_tiny_model


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SPLARE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def corpus(tmp_path):
    """A BEIR folder of a few texts."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    for name, prefix in (("corpus", "d"), ("queries", "q")):
        lines = [json.dumps({"_id": f"{prefix}{number}", "text": text}) for number, text in enumerate(TEXTS)]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def test_from_a_published_sae_to_a_run(splare, corpus, tmp_path):
    backbone = save_llama(tmp_path / "backbone")
    sae = replicas.llama_scope(tmp_path / "published").folder
    made = splare("assemble", "--backbone", backbone, "--sae", sae, "-o", tmp_path / "model", "--json")
    assert made.status == 0, made.err
    assert (made.facts["layer"], made.facts["backbone"]) == (LAYER, "backbone")
    size = sum(path.stat().st_size for path in (tmp_path / "model" / "backbone").iterdir())
    assert made.facts["backbone_bytes"] == size > (backbone / "model.safetensors").stat().st_size
    command = ["assemble", "--backbone", backbone, "--sae", sae, "-o", tmp_path / "named", "--json"]
    named = splare(*command, "--reference-backbone")
    assert (named.facts["backbone"], named.facts["backbone_bytes"]) == (str(backbone), None)
    assert named.facts["fingerprint"] == made.facts["fingerprint"]
    early = splare("index", "memory", corpus, "-o", tmp_path / "index", "-M", tmp_path / "model")
    assert (early.status, "splare calibrate" in early.err) == (2, True)
    scaled = splare("calibrate", tmp_path / "model", corpus, "--json")
    assert scaled.status == 0, scaled.err
    assert (scaled.facts["queries"], scaled.facts["documents"]) == (len(TEXTS), len(TEXTS))
    config = SplareConfig.load(tmp_path / "model")
    assert config.index_fingerprint() == scaled.facts["index_fingerprint"]
    assert config.fingerprint() == made.facts["fingerprint"]
    assert f"{config.document.scale:g}" in (tmp_path / "model" / "README.md").read_text()
    assert splare("index", "memory", corpus, "-o", tmp_path / "index", "-M", tmp_path / "model").status == 0
    run = [
        "search",
        tmp_path / "index",
        corpus,
        "-o",
        tmp_path / "run",
        "-M",
        tmp_path / "model",
        "--engine",
        "memory",
    ]
    assert splare(*run).status == 0


def test_the_scales_map_a_percentile_to_the_largest_impact(splare, corpus, tmp_path):
    folder = save_tiny_model(tmp_path / "model")
    command = ["calibrate", folder, corpus, "-o", tmp_path / "new", "--percentile", 90, "--sample", 3, "--json"]
    facts = splare(*command).facts
    assert (facts["queries"], facts["documents"]) == (3, 3)
    model = SplareModel.from_pretrained(tmp_path / "new", device="cpu")
    weights = model.encode_documents(TEXTS[:3])
    assert facts["document_scale"] == pytest.approx(MAX_IMPACT / np.percentile(weights.data, 90), rel=1e-4)
    assert SplareConfig.load(folder).document.scale != facts["document_scale"]


def test_standardised_latents_are_another_model(splare, corpus, tmp_path):
    folder = save_tiny_model(tmp_path / "model", k=8)
    command = ["calibrate", folder, corpus, "--standardise", 1.5]
    for arguments, words in (
        (command, "add -o and another folder"),
        ([*command, "-o", folder, "--overwrite"], "add -o and another folder"),
        ([*command, "-o", tmp_path / "new", "--sample", 1], "at least 2 texts"),
    ):
        outcome = splare(*arguments)
        assert (outcome.status, words in outcome.err) == (2, True), outcome.err
    facts = splare(*command, "-o", tmp_path / "new", "--json").facts
    assert facts["standardised_beyond"] == 1.5
    head = SplareModel.load(tmp_path / "new").head
    assert (head.k, head.card["standardised"]["threshold"]) == (None, 1.5)
    assert facts["index_fingerprint"] != SplareConfig.load(folder).index_fingerprint()
    splade = save_random(tmp_path / "splade", "BertForMaskedLM")
    refused = splare("calibrate", splade, corpus, "--standardise", 1.5, "-o", tmp_path / "words")
    assert (refused.status, "no SAE" in refused.err) == (2, True)


def test_a_splade_model_becomes_a_folder_that_every_verb_takes(splare, corpus, tmp_path):
    splade = save_random(tmp_path / "splade", "BertForMaskedLM")
    raw = splare("inspect", splade, "--json")
    assert raw.status == 0, raw.err
    assert (raw.facts["head"], raw.facts["latents"]) == ("mlm", 260)
    assert splare("calibrate", splade, corpus).status == 2
    outcome = splare("calibrate", splade, corpus, "-o", tmp_path / "model", "--json")
    assert outcome.status == 0, outcome.err
    facts = splare("inspect", tmp_path / "model", "--json").facts
    assert facts["index fingerprint"] == outcome.facts["index_fingerprint"]
    assert facts["fingerprint"] == raw.facts["fingerprint"]
    assert splare("encode", corpus, "-o", tmp_path / "encoded", "-M", tmp_path / "model").status == 0
    index = ["index", "memory", tmp_path / "encoded", "-o", tmp_path / "index"]
    assert splare(*index, "-M", tmp_path / "model").status == 0
    refused = splare(*index, "-M", splade, "--overwrite")  # the raw model has no scales: another index
    assert (refused.status, "was made with" in refused.err) == (2, True)


def test_what_calibrating_needs(splare, corpus, tmp_path):
    folder = save_tiny_model(tmp_path / "model")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes").write_text("mine")
    before = SplareConfig.load(folder)
    for arguments, words in (
        ([folder, corpus / "corpus.jsonl"], "--queries"),
        ([folder, tmp_path / "nowhere"], "nowhere"),
        ([folder, corpus, "--percentile", 0], "--percentile"),
        ([folder, corpus, "-o", tmp_path / "taken"], "no model"),
        (["splare-e5-small", corpus], "-o FOLDER"),
    ):
        outcome = splare("calibrate", *arguments)
        assert outcome.status == 2, arguments
        assert words in outcome.err
        assert "Traceback" not in outcome.err
    assert SplareConfig.load(folder) == before
    copied = shutil.copytree(folder, tmp_path / "other")
    assert splare("calibrate", folder, corpus, "-o", copied).status == 2
    assert splare("calibrate", folder, corpus, "-o", copied, "--overwrite").status == 0
    assert splare("calibrate", folder, corpus / "corpus.jsonl", "-q", corpus / "queries.jsonl").status == 0


def test_bad_parts_are_one_sentence(splare, hub_server, tmp_path):
    """Each of what goes wrong with published files, through the program."""
    backbone = save_llama(tmp_path / "backbone")
    wide = save_llama(tmp_path / "wide", hidden=32)
    shallow = save_llama(tmp_path / "shallow", layers=3)
    good = replicas.llama_scope(tmp_path / "good").folder
    E, e, decoder, b_dec, _ = replicas.weights()
    tensors = {"encoder.weight": E, "encoder.bias": e, "decoder.weight": decoder, "decoder.bias": b_dec}
    nan = replicas.llama_scope(tmp_path / "nan", tensors={**tensors, "encoder.weight": E * torch.nan}).folder
    del tensors["encoder.bias"]
    lacking = replicas.llama_scope(tmp_path / "lacking", tensors=tensors).folder
    cut = replicas.gemma_scope(tmp_path / "cut").folder
    (cut / "params.npz").write_bytes((cut / "params.npz").read_bytes()[:1000])
    shutil.copytree(good, hub_server.root / "org" / "gated" / good.name)
    hub_server.gated.add("org/gated")
    other = shutil.copytree(backbone, tmp_path / "other")
    weights = load_file(other / "model.safetensors")
    del weights["layers.0.mlp.up_proj.weight"]
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    half = shutil.copytree(backbone, tmp_path / "half")
    (half / "model.safetensors").write_bytes((backbone / "model.safetensors").read_bytes()[:5000])
    for part, sae, options, words in (
        (wide, good, [], f"size {D}"),
        (shallow, good, [], "needs 7 layers"),
        (backbone, good, ["--layer", 3], "layer 6, not of layer 3"),
        (backbone, nan, [], "NaN"),
        (backbone, lacking, [], "no tensor 'encoder.bias'"),
        (backbone, cut, [], "damaged or cut off"),
        (backbone, tmp_path / "corpus", [], "no folder"),
        (backbone, backbone, [], "not an SAE of"),
        (backbone, "hf:org/gated", [], "gated"),
        (backbone, "hf:org/nothing", [], "no hub repository"),
        ("org/nothing", good, [], "no hub repository"),
    ):
        command = ["assemble", "--backbone", part, "--sae", sae, "-o", tmp_path / "model", *options]
        outcome = splare(*command)
        assert outcome.status == 2, command
        assert words in outcome.err, outcome.err
        assert outcome.err.strip().count("\n") == 0, outcome.err
        assert not (tmp_path / "model").exists()
    for part, words in ((other, "layers.0.mlp.up_proj.weight"), (half, "cannot load the backbone")):
        assert splare("assemble", "--backbone", part, "--sae", good, "-o", tmp_path / part.name / "model").status == 0
        outcome = splare("encode", tmp_path / "good", "-o", tmp_path / "e", "-M", tmp_path / part.name / "model")
        assert (outcome.status, words in outcome.err) == (2, True), outcome.err


def test_a_gated_model_and_an_unknown_suite_are_one_sentence(splare, hub_server, tiny_folder, tmp_path):
    shutil.copytree(tiny_folder, hub_server.root / "org" / "gated")
    hub_server.gated.add("org/gated")
    folder = replicas.qwen_scope(tmp_path / "published").folder
    for command, words in (
        (["inspect", "org/gated"], "org/gated is gated: accept its terms on the hub and run `hf auth login`"),
        (["inspect", "org/nothing"], "no hub repository org/nothing"),
        (["sae", "import", folder, "-o", tmp_path / "head", "--suite", "magic"], "no suite 'magic'"),
        (["sae", "import", tmp_path, "-o", tmp_path / "head"], "not an SAE of"),
    ):
        outcome = splare(*command)
        assert outcome.status == 2, command
        assert words in outcome.err
        assert "Traceback" not in outcome.err


def test_a_model_that_is_not_what_it_says_is_one_sentence(splare, tmp_path):
    folder = save_tiny_model(tmp_path / "model")
    data = bytearray((folder / "backbone" / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "backbone" / "model.safetensors").write_bytes(data)
    outcome = splare("explain", "a", "b", "-M", folder)
    assert (outcome.status, "does not have the hash" in outcome.err) == (2, True)
    config = json.loads((folder / "splare_config.json").read_text())
    (folder / "splare_config.json").write_text(json.dumps({**config, "layer": 1}))
    outcome = splare("inspect", folder)
    assert (outcome.status, "was changed after it was saved" in outcome.err) == (2, True)
