"""A backbone and an SAE become a model: the vectors are the definition, and what does not fit is refused."""

from __future__ import annotations

import json
import logging
import shutil

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaModel

from splare_plugins.config import SplareConfig
from splare_plugins.errors import InputError
from splare_plugins.heads.importers import import_sae
from splare_plugins.model.assemble import _may_be, assemble
from splare_plugins.model.splare import SplareModel
from tests.heads.importers import replicas
from tests.heads.importers.replicas import LAYER, D, M
from tests.hub_server import COMMIT
from tests.machine.failing import contents, fail_to_publish
from tests.tiny import TEXTS, byte_tokenizer


def save_llama(folder, *, hidden: int = D, layers: int = LAYER + 2, seed: int = 0):
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=260,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=2,
        intermediate_size=32,
        max_position_embeddings=256,
    )
    LlamaModel(config).save_pretrained(folder)
    byte_tokenizer(max_length=256).save_pretrained(folder)
    return folder


@pytest.fixture
def backbone(tmp_path):
    return save_llama(tmp_path / "backbone")


@pytest.fixture
def sae(tmp_path):
    """A Llama Scope SAE of layer 6, in the published layout."""
    return replicas.llama_scope(tmp_path / "published")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SPLARE_CACHE", str(tmp_path / "cache"))


def definition(backbone, forward, text: str) -> np.ndarray:
    """log1p of the suite's own activations after layer 6 of the bidirectional model, maximum over own tokens."""
    model = LlamaModel.from_pretrained(backbone)
    model.config.is_causal = False
    ids = AutoTokenizer.from_pretrained(backbone)(text, return_tensors="pt").input_ids
    with torch.inference_mode():
        states = model(ids, output_hidden_states=True).hidden_states[LAYER + 1][0, 1:-1]
    return torch.log1p(forward(states)).amax(0).numpy()


@pytest.mark.parametrize("imported", [True, False])
@pytest.mark.parametrize("copied", [True, False])
def test_the_vectors_are_those_of_the_two_parts(backbone, sae, tmp_path, imported, copied):
    source = str(import_sae(str(sae.folder), output=tmp_path / "head") if imported else sae.folder)
    config = assemble(str(backbone), source, tmp_path / "model", max_length=128, copy_backbone=copied)
    model = SplareModel.from_pretrained(tmp_path / "model", device="cpu")
    assert model.config == config
    assert (config.layer, config.width, config.name) == (LAYER, M, f"backbone-L{LAYER}-{M}")
    assert (config.query.top_k, config.document.top_k, config.document.max_length) == (40, 400, 128)
    found = model.encode_documents(TEXTS, top_k=None).toarray()
    expected = np.stack([definition(backbone, sae.forward, text) for text in TEXTS])
    assert (expected > 0).any()
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_copied_backbone_travels(backbone, sae, tmp_path):
    named = assemble(str(backbone), str(sae.folder), tmp_path / "named", copy_backbone=False)
    copied = assemble(str(backbone), str(sae.folder), tmp_path / "copied")
    assert named.fingerprint() == copied.fingerprint()
    model = SplareModel.from_pretrained(tmp_path / "named", device="cpu")
    model.save_pretrained(tmp_path / "saved")
    model.save_pretrained(tmp_path / "still named", copy_backbone=False)
    model.save_pretrained(tmp_path / "named")  # its own folder keeps what it names
    wanted = model.encode_queries(TEXTS)
    shutil.rmtree(backbone)
    for name in ("copied", "saved"):
        moved = SplareModel.from_pretrained(shutil.move(tmp_path / name, tmp_path / "moved" / name), device="cpu")
        assert abs(moved.encode_queries(TEXTS) - wanted).max() == 0
        assert moved.config.fingerprint() == named.fingerprint()
    for name in ("named", "still named"):
        with pytest.raises(InputError, match=r"stands on the backbone in .*backbone, a folder that is not here"):
            SplareModel.from_pretrained(tmp_path / name, device="cpu")


def test_a_hub_backbone_is_named_by_its_commit_and_not_fetched(hub_server, backbone, sae, tmp_path, caplog):
    shutil.copytree(backbone, hub_server.root / "org" / "llama")
    with caplog.at_level(logging.WARNING):
        config = assemble("org/llama", str(sae.folder), tmp_path / "model", revision="main")
    assert "was trained on meta-llama/Llama-3.1-8B" in caplog.text
    assert (config.backbone, config.backbone_revision, config.backbone_sha256) == ("org/llama", COMMIT, None)
    assert hub_server.served == ["org/llama/config.json"]
    model = SplareModel.from_pretrained(tmp_path / "model", device="cpu")
    local = assemble(str(backbone), str(sae.folder), tmp_path / "local")
    other = SplareModel.from_pretrained(tmp_path / "local", device="cpu")
    assert abs(model.encode_queries(TEXTS) - other.encode_queries(TEXTS)).max() < 1e-6
    assert local.fingerprint() != config.fingerprint()


def test_causal_attention_is_another_model(backbone, sae, tmp_path):
    both = assemble(str(backbone), str(sae.folder), tmp_path / "both")
    causal = assemble(str(backbone), str(sae.folder), tmp_path / "causal", bidirectional=False)
    assert both.fingerprint() != causal.fingerprint()
    one, other = (SplareModel.from_pretrained(tmp_path / name, device="cpu") for name in ("both", "causal"))
    assert abs(one.encode_queries(TEXTS) - other.encode_queries(TEXTS)).max() > 1e-3


def test_what_does_not_fit_is_refused(hub_server, backbone, sae, tmp_path):
    wide = save_llama(tmp_path / "wide", hidden=32)
    shallow = save_llama(tmp_path / "shallow", layers=3)
    unknown = tmp_path / "unknown"
    unknown.mkdir()
    (unknown / "config.json").write_text(json.dumps({"model_type": "magic"}))
    pickled = shutil.copytree(backbone, tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    shutil.copytree(backbone, hub_server.root / "org" / "gated")
    hub_server.gated.add("org/gated")
    head = import_sae(str(sae.folder), output=tmp_path / "head")
    broken = shutil.copytree(head, tmp_path / "broken")
    (broken / "head.safetensors").write_bytes((head / "head.safetensors").read_bytes()[:200])
    for where, what, options, words in (
        (wide, sae.folder, {}, "states of size 16.*size 32"),
        (shallow, sae.folder, {}, "needs 7 layers, but .* has 3"),
        (backbone, sae.folder, {"layer": 5}, "layer 6, not of layer 5"),
        (backbone, sae.folder, {"max_length": 257}, "1 to 256 tokens"),
        (backbone, sae.folder, {"max_length": 0}, "1 to 256 tokens"),
        (backbone, broken, {}, "does not hold a complete SAE head"),
        (backbone, tmp_path / "nowhere", {}, "no folder"),
        (unknown, sae.folder, {}, "no safetensors weights"),
        (pickled, sae.folder, {}, "pickled"),
        ("org/nothing", sae.folder, {}, "no hub repository org/nothing"),
        ("org/gated", sae.folder, {}, "gated"),
        ("org/gated", sae.folder, {"copy_backbone": True}, "--copy-backbone"),
    ):
        with pytest.raises(InputError, match=words) as refusal:
            assemble(str(where), str(what), tmp_path / "model", **options)
        assert "\n" not in str(refusal.value)
        assert not (tmp_path / "model").exists()
    assert not list(tmp_path.glob(".model.*"))


def test_a_layer_that_no_card_tells_is_asked_for(backbone, sae, tmp_path):
    head = import_sae(str(sae.folder), output=tmp_path / "head")
    card = json.loads((head / "head.json").read_text())
    (head / "head.json").write_text(json.dumps({**card, "layer": None}))
    with pytest.raises(InputError, match="--layer"):
        assemble(str(backbone), str(head), tmp_path / "model")
    assert assemble(str(backbone), str(head), tmp_path / "model", layer=2).layer == 2


def test_only_a_model_is_replaced_and_only_when_asked(backbone, sae, tmp_path):
    output = tmp_path / "model"
    assemble(str(backbone), str(sae.folder), output, name="one")
    with pytest.raises(InputError, match="--overwrite"):
        assemble(str(backbone), str(sae.folder), output)
    assemble(str(backbone), str(sae.folder), output, name="two", overwrite=True)
    assert SplareConfig.load(output).name == "two"
    with pytest.raises(InputError, match="no model"):
        assemble(str(backbone), str(sae.folder), backbone, overwrite=True)
    assert (backbone / "model.safetensors").is_file()


def test_a_model_stays_where_the_new_one_cannot_be_put(backbone, sae, tmp_path, monkeypatch):
    output = tmp_path / "out" / "model"
    assemble(str(backbone), str(sae.folder), output, name="one")
    before = contents(output)
    fail_to_publish(monkeypatch)
    with pytest.raises(InputError, match=r"cannot write .*Input/output error"):
        assemble(str(backbone), str(sae.folder), output, name="two", overwrite=True)
    assert contents(output) == before
    assert [path.name for path in output.parent.iterdir()] == ["model"]


def test_parts_of_memory_are_written_into_their_own_folder(backbone, sae, tmp_path):
    """Not over the backbone on disk that the config names."""
    assemble(str(backbone), str(sae.folder), tmp_path / "model", copy_backbone=False)
    before = {path.name: path.read_bytes() for path in backbone.iterdir()}
    model = SplareModel.from_pretrained(tmp_path / "model", device="cpu")
    SplareModel(model.config, model.backbone, model.head).save_pretrained(tmp_path / "own")
    assert {path.name: path.read_bytes() for path in backbone.iterdir()} == before
    shutil.rmtree(backbone)
    own = SplareModel.from_pretrained(tmp_path / "own", device="cpu")
    assert abs(own.encode_queries(TEXTS) - model.encode_queries(TEXTS)).max() == 0


@pytest.mark.parametrize(
    ("base", "name", "model_type", "same"),
    [
        ("gemma-v3-270m-pt", "google/gemma-3-270m", "gemma3_text", True),
        ("gemma-2-2b", "google/gemma-2-2b", "gemma2", True),
        ("google/gemma-2-2b", "google/gemma-2-2b-it", "gemma2", False),
        ("google/gemma-2-9b", "google/gemma-2-2b", "gemma2", False),
        ("meta-llama/Llama-3.1-8B", None, "llama", True),
        ("deepseek-ai/DeepSeek-R1-Distill-Llama-8B", None, "llama", True),
        ("EleutherAI/pythia-70m-deduped", None, "gpt_neox", True),
        ("org/of-its-own", None, "llama", True),
        ("meta-llama/Llama-3.1-8B", None, "gemma2", False),
    ],
)
def test_a_model_that_may_be_the_one_that_an_sae_names(base, name, model_type, same):
    assert _may_be(base, name, model_type) == same
