"""``splare sae``: import, inspect, list."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from transformers import LlamaConfig, LlamaModel

from splare_plugins.heads import SparseAutoencoder
from tests.heads.importers import replicas
from tests.heads.importers.replicas import LAYER, D, K, M
from tests.tiny import byte_tokenizer


@pytest.fixture
def imported(splare, tmp_path):
    replica = replicas.llama_scope(tmp_path / "published")
    outcome = splare("sae", "import", replica.folder, "-o", tmp_path / "head", "--json")
    assert outcome.status == 0, outcome.err
    return tmp_path / "head"


@pytest.fixture
def backbone(tmp_path):
    """A causal model with one layer more than the SAE needs."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=260,
        hidden_size=D,
        num_hidden_layers=LAYER + 2,
        num_attention_heads=2,
        num_key_value_heads=2,
        intermediate_size=32,
    )
    LlamaModel(config).save_pretrained(tmp_path / "backbone")
    byte_tokenizer().save_pretrained(tmp_path / "backbone")
    return tmp_path / "backbone"


def test_import_writes_a_head_and_says_what_it_is(splare, tmp_path):
    replica = replicas.qwen_scope(tmp_path / "published")
    outcome = splare("sae", "import", replica.folder, "-o", tmp_path / "head", "--json")
    assert outcome.facts["suite"] == "qwen-scope"
    assert (outcome.facts["width"], outcome.facts["d_model"], outcome.facts["k"]) == (M, D, K)
    assert (tmp_path / "head" / "head.safetensors").is_file()
    assert splare("sae", "import", replica.folder, "-o", tmp_path / "head").status == 2
    assert splare("sae", "import", replica.folder, "-o", tmp_path / "head", "--overwrite").status == 0


def test_import_without_an_output_goes_to_the_cache(splare, tmp_path, monkeypatch):
    monkeypatch.setenv("SPLARE_CACHE", str(tmp_path / "cache"))
    replica = replicas.sparsify(tmp_path / "published")
    folder = splare("sae", "import", replica.folder, "--json").facts["folder"]
    assert folder.startswith(str(tmp_path / "cache" / "sae"))


def test_inspect_says_what_is_in_the_card(splare, imported):
    facts = splare("sae", "inspect", imported, "--json").facts
    assert (facts["layer"], facts["layers_needed"], facts["licence"]) == (LAYER, LAYER + 1, "apache-2.0")
    assert facts["hook"] == f"blocks.{LAYER}.hook_resid_post"
    assert len(facts["sha256"]) == len(facts["source_sha256"]) == 64
    assert "measured_l0" not in facts
    assert "jumprelu" in splare("sae", "inspect", imported).out


@pytest.mark.parametrize("make", [replicas.llama_scope, replicas.qwen_scope])
def test_inspect_measures_the_l0_after_its_layer(splare, tmp_path, backbone, make):
    """Against the suite's own forward pass on the hidden states of transformers, specials left out."""
    replica = make(tmp_path / "published")
    text = "Sparse codes."
    splare("sae", "import", replica.folder, "-o", tmp_path / "head")
    command = ["sae", "inspect", tmp_path / "head", "--backbone", backbone, "--text", text, "--device", "cpu"]
    outcome = splare(*command, "--json")
    assert outcome.status == 0, outcome.err
    model = LlamaModel.from_pretrained(backbone)
    ids = byte_tokenizer()(text, return_tensors="pt").input_ids
    with torch.inference_mode():
        states = model(ids, output_hidden_states=True).hidden_states[LAYER + 1][0, 1:-1]
    expected = (replica.forward(states) > 0).sum(1).float().mean()
    assert outcome.facts["measured_l0"] == pytest.approx(float(expected), abs=0.06)
    assert outcome.facts["measured_tokens"] == len(text)
    published = outcome.facts["published_l0"]
    far = not published / 2 <= expected <= published * 2
    assert ("were published" in (outcome.facts["warning"] or "")) == far
    # A replica's rows are random, and random rows explain what chance explains; those that are states explain more.
    chance = outcome.facts["explained_by_chance"]
    assert outcome.facts["explained"] < 1.5 * chance or chance > 0.6
    assert ("warning" in splare(*command).out) == (far or chance < 1 / 1.5)

    centred = states - states.mean(0)
    rows = torch.nn.functional.normalize(centred, dim=1) * 10
    bias = torch.full((len(rows),), -0.1)
    (tmp_path / "own").mkdir()
    SparseAutoencoder(rows, bias, k=1, card={"layer": LAYER, "published_l0": 1.0}).save(tmp_path / "own")
    own = splare("sae", "inspect", tmp_path / "own", *command[3:], "--json").facts

    assert own["explained"] > 3 * own["explained_by_chance"]
    assert own["warning"] is None


def test_inspect_refuses_a_backbone_that_does_not_fit(splare, tmp_path, imported, backbone):
    LlamaModel(
        LlamaConfig(vocab_size=260, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    ).save_pretrained(tmp_path / "wide")
    LlamaModel(
        LlamaConfig(vocab_size=260, hidden_size=D, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
    ).save_pretrained(tmp_path / "shallow")
    for arguments, words in (
        (["--backbone", tmp_path / "wide", "--text", "x"], "have size 32"),
        (["--backbone", tmp_path / "shallow", "--text", "x"], "needs 7 layers"),
        (["--backbone", tmp_path / "nowhere", "--text", "x"], "cannot load the backbone"),
        (["--backbone", backbone], "--text"),
        (["--backbone", backbone, "--text", "", "--device", "cpu"], "no token"),
    ):
        outcome = splare("sae", "inspect", imported, *arguments)
        assert outcome.status == 2
        assert words in outcome.err
        assert "Traceback" not in outcome.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sae", "import", "nowhere", "-o", "x"], "nowhere"),
        (["sae", "import", ".", "-o", "x", "--suite", "magic"], "magic"),
        (["sae", "import", "hf:one-word", "-o", "x"], "hub source"),
        (["sae", "inspect", "."], "not an imported SAE"),
    ],
)
def test_wrong_input(splare, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    outcome = splare(*arguments)
    assert outcome.status == 2
    assert words in outcome.err
    assert "Traceback" not in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_list_shows_suites_sizes_and_licences(splare):
    rows = {row["suite"]: row for row in splare("sae", "list", "--json").facts["published"]}
    assert rows["llama-scope"]["converted_bytes"] == 131_072 * (4096 * 2 + 8)
    assert rows["gemma-scope"]["l0"] == "107"
    lines = splare("sae", "list").out.splitlines()
    assert any("layers 0-25, L0 107, 65,536 latents" in line and "cc-by-4.0" in line for line in lines)
    commands = [line.strip() for line in lines if "sae import" in line]
    assert commands == [row["command"] for row in rows.values()]
    assert all(len(line) <= 80 for line in lines if "sae import" not in line)


def test_a_command_of_the_list_asks_for_nothing_more(splare, tmp_path):
    """Files of R1-Distill do not hold the norm that their import needs."""
    from splare_plugins.heads.importers.catalogue import PUBLISHED

    (row,) = (row for row in PUBLISHED if row.suite == "llamascopium")
    folder = replicas.llamascopium(tmp_path / "published", native=False, stored_norm=False).folder
    command = row.command.replace(row.source, str(folder)).replace("NORM", "7").replace("FOLDER", str(tmp_path / "x"))
    assert splare(*command.split()[1:]).status == 0
    assert splare(*command.replace("--input-norm 7", "").replace("/x", "/y").split()[1:]).status == 2


def test_every_published_suite_has_an_importer():
    from splare_plugins.heads.importers import SUITES
    from splare_plugins.heads.importers.catalogue import GENERIC, PUBLISHED

    assert {row.suite for row in PUBLISHED} | set(GENERIC) == set(SUITES)


@pytest.mark.slow
def test_help_does_not_start_torch():
    code = (
        "import sys\nfrom splare_plugins.cli.app import main\n"
        "try:\n    main(['sae', 'import', '--help'])\nexcept SystemExit:\n    pass\n"
        "assert not {'torch', 'transformers', 'scipy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
