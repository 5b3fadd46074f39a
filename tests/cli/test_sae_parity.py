"""``splare sae parity``: imported SAEs beside the libraries that made them, and beside Neuronpedia's activations."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from splare_plugins.config import HEAD_CARD
from splare_plugins.heads import SparseAutoencoder
from splare_plugins.heads.importers import sparsify
from splare_plugins.machine.files import read_json, write_json
from splare_plugins.machine.quiet import importing_saelens
from tests.heads.test_labels import write_lines

TEXTS = ("Sparse autoencoders turn states into latents.", "A fox jumps over a dog.")
D, M = 32, 96


def sparsify_sae(folder: Path) -> Path:
    library = sparsify.import_library()
    torch.manual_seed(1)
    coder = library.SparseCoder(D, library.SaeConfig(num_latents=M, k=7))
    coder.b_dec.data = torch.randn(D)
    coder.encoder.bias.data = torch.randn(M) * 0.1
    coder.save_to_disk(folder / "layers.1")
    return folder / "layers.1"


def saelens_sae(folder: Path, kind: str, **options: Any) -> Path:
    with importing_saelens():
        from sae_lens import saes

    torch.manual_seed(2)
    config = getattr(saes, f"{kind}SAEConfig")(d_in=D, d_sae=M, **options)
    config.metadata.hook_name = "blocks.1.hook_resid_post"
    sae = getattr(saes, f"{kind}SAE")(config)
    for weight in sae.parameters():
        weight.data = torch.randn_like(weight) * 0.3
    if kind == "JumpReLU":
        sae.threshold.data.abs_()
    sae.save_model(folder / "made")
    return folder / "made"


MAKERS: dict[str, Callable[[Path], Path]] = {
    "sparsify": sparsify_sae,
    "standard": lambda folder: saelens_sae(folder, "Standard"),
    "jumprelu": lambda folder: saelens_sae(folder, "JumpReLU"),
    "topk": lambda folder: saelens_sae(folder, "TopK", k=5, rescale_acts_by_decoder_norm=True),
    "other bias": lambda folder: saelens_sae(folder, "JumpReLU", apply_b_dec_to_input=False),
}


@pytest.fixture(scope="module")
def options(tiny_folder: Path) -> list[object]:
    return [
        "--backbone",
        tiny_folder / "backbone",
        "--device",
        "cpu",
        *(x for text in TEXTS for x in ("--text", text)),
    ]


@pytest.mark.parametrize("kind", MAKERS)
def test_what_was_imported_is_what_the_library_computes(splare, options, tmp_path, kind):
    source = MAKERS[kind](tmp_path)
    assert splare("sae", "import", source, "-o", tmp_path / "sae").status == 0
    outcome = splare("sae", "parity", tmp_path / "sae", *options, "--json")
    assert outcome.status == 0, outcome.err
    facts = outcome.facts
    assert (facts["agrees"], facts["tokens"]) == (True, sum(map(len, TEXTS)))
    assert facts["active"] > facts["tokens"]
    assert facts["of_largest_activation"] < 1e-5
    assert facts["ties"] <= 1


def test_a_difference_is_found_where_it_is(splare, options, tmp_path):
    source = sparsify_sae(tmp_path)
    splare("sae", "import", source, "-o", tmp_path / "sae")
    assert splare("sae", "parity", tmp_path / "sae", *options).out.count("eai-sparsify") == 2
    head = SparseAutoencoder.load(tmp_path / "sae")
    head.b.data[5] += 0.5
    head.save(tmp_path / "sae")
    outcome = splare("sae", "parity", tmp_path / "sae", *options, "--json")
    facts = outcome.facts
    assert (outcome.status, facts["agrees"]) == (1, False)
    assert facts["of_largest_activation"] > 0.1
    assert abs(facts["ours"] - facts["theirs"]) == pytest.approx(facts["largest_difference"], rel=0.01)
    assert facts["token"] == "".join(TEXTS)[facts["token_number"]]
    assert splare("sae", "parity", tmp_path / "sae", *options, "--tolerance", 10).status == 0


def test_files_that_moved_or_changed(splare, options, tmp_path):
    source = sparsify_sae(tmp_path)
    splare("sae", "import", source, "-o", tmp_path / "sae")
    moved = tmp_path / "elsewhere" / "layers.1"
    moved.parent.mkdir()
    source.rename(moved)
    gone = splare("sae", "parity", tmp_path / "sae", *options)
    assert (gone.status, "--source" in gone.err) == (2, True), gone.err
    assert splare("sae", "parity", tmp_path / "sae", *options, "--source", moved).status == 0
    tensors = load_file(moved / "sae.safetensors")
    save_file({**tensors, "b_dec": tensors["b_dec"] + 1}, moved / "sae.safetensors")
    changed = splare("sae", "parity", tmp_path / "sae", *options, "--source", moved)
    assert (changed.status, "does not hold the files" in changed.err) == (2, True)


def test_what_has_no_library_is_one_sentence(splare, options, tiny_folder, tmp_path):
    outcome = splare("sae", "parity", tiny_folder, *options)
    assert (outcome.status, "was not imported from a suite's files" in outcome.err) == (2, True), outcome.err
    splare("sae", "import", sparsify_sae(tmp_path), "-o", tmp_path / "sae")
    card = read_json(tmp_path / "sae" / HEAD_CARD)
    write_json(tmp_path / "sae" / HEAD_CARD, {**card, "suite": "qwen-scope"})
    outcome = splare("sae", "parity", tmp_path / "sae", *options)
    assert (outcome.status, "parity is for saelens and sparsify" in outcome.err) == (2, True), outcome.err
    nothing = splare("sae", "parity", tmp_path / "sae", *options[:4])
    assert (nothing.status, "give a --text" in nothing.err) == (2, True)


def record(latent: int, tokens: list[str], values: list[float], **more: Any) -> dict[str, Any]:
    """One activation as Neuronpedia exports it, without the fields that nothing here reads."""
    return {"modelId": "m", "layer": "1-x-res", "index": str(latent), "tokens": tokens, "values": values, **more}


def test_neuronpedia_s_activations_stand_beside_ours(splare, options, tiny_folder, tmp_path):
    splare("sae", "import", sparsify_sae(tmp_path), "-o", tmp_path / "sae")
    tokens = ["[CLS]", *"a fox", "[SEP]"]
    rows = [record(latent, tokens, [0.0, 1.5, 0.0, 0.0, 0.0, 0.0, 0.0]) for latent in range(M)]
    export = write_lines(tmp_path / "batch-0.jsonl", *rows, record(3, ["no such token"], [1.0]))
    command = ["sae", "parity", tmp_path / "sae", *options[:4], "--neuronpedia", export, "--limit", 200]
    found = splare(*command, "--json")
    assert found.status == 0, found.err
    table = found.facts["neuronpedia"]
    assert (len(table), found.facts["split_otherwise"]) == (M, 1)
    assert all((row["token"], row["neuronpedia"]) == ("a", 1.5) for row in table)
    # A TopK SAE keeps seven latents of the token, and each of them has its own value.
    assert 1 <= sum(row["ours"] > 0 for row in table) <= 7
    row = max(table, key=lambda row: row["ours"])
    assert row["difference"] == pytest.approx(row["ours"] - 1.5, abs=1e-3)
    shown = splare(*command)
    assert ("beside Neuronpedia" in shown.out, "1 texts have a token" in shown.err) == (True, True)
    for wrong, words in (
        ({"index": "1", "description": "x"}, "lacks tokens"),
        (record(1, ["a"], [1.0, 2.0]), "a value for each"),
        (record(M, ["a"], [1.0]), f"only {M}"),
        (record(1, ["a"], [1.0], layer="7-x-res"), "layer 7"),
    ):
        export = write_lines(tmp_path / "wrong.jsonl", json.loads(json.dumps(wrong)))
        outcome = splare("sae", "parity", tmp_path / "sae", *options[:4], "--neuronpedia", export)
        assert (outcome.status, words in outcome.err) == (2, True), outcome.err
