"""Backbones that cannot be used as they are: one sentence each, before any vector is made."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import OpenAIGPTConfig, OpenAIGPTModel, Qwen3NextConfig, Qwen3NextModel

from splare_plugins.errors import InputError, SplareError
from splare_plugins.heads import SparseAutoencoder
from splare_plugins.model.splare import SplareModel
from tests.backbone.families import DEPTH, LAYER, config_of, load
from tests.tiny import byte_tokenizer


@pytest.fixture
def llama(family_folder, tmp_path):
    """A copy that a test may damage."""
    shutil.copytree(family_folder("llama"), tmp_path / "llama")
    return tmp_path / "llama"


def change_weights(folder, change) -> None:
    path = folder / "backbone" / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def test_a_missing_weight_of_a_layer_that_runs_is_refused(llama):
    change_weights(llama, lambda tensors: tensors.pop("model.layers.1.mlp.up_proj.weight"))
    with pytest.raises(InputError, match=r"lacks layers\.1\.mlp\.up_proj\.weight and 0 more tensors; fetch it again"):
        load(llama, layer=LAYER)
    load(llama, layer=0)


def test_a_missing_final_norm_counts_only_where_it_is_used(llama):
    change_weights(llama, lambda tensors: tensors.pop("model.norm.weight"))
    load(llama, layer=LAYER)
    with pytest.raises(InputError, match=r"lacks norm\.weight"):
        load(llama, final_norm=True)


def test_a_weight_of_another_shape_is_refused(llama):
    change_weights(llama, lambda tensors: tensors.update({"model.norm.weight": torch.ones(8)}))
    with pytest.raises(InputError, match="cannot load the backbone"):
        load(llama, layer=LAYER)


def test_pickled_weights_are_not_read(llama):
    path = llama / "backbone" / "model.safetensors"
    torch.save(load_file(path), path.with_name("pytorch_model.bin"))
    path.unlink()
    with pytest.raises(InputError, match=r"cannot load the backbone .*safetensors"):
        load(llama, layer=LAYER)


def test_half_a_file_is_refused(llama):
    path = llama / "backbone" / "model.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match="cannot load the backbone"):
        load(llama, layer=LAYER)


def test_a_config_that_is_no_json_is_refused(llama):
    (llama / "backbone" / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match="cannot load the backbone"):
        load(llama, layer=LAYER)


@pytest.mark.parametrize("layer", [DEPTH, -1])
def test_a_layer_that_is_not_there_is_refused(llama, layer):
    with pytest.raises(InputError, match=f"there is no layer {layer} in the backbone .*, which has 4: 0 to 3"):
        load(llama, layer=layer)


def test_code_that_comes_with_a_model_is_never_run(llama):
    path = llama / "backbone" / "config.json"
    own = {"AutoConfig": "code.Config", "AutoModel": "code.Model"}
    path.write_text(json.dumps({"model_type": "own", "auto_map": own}), encoding="utf-8")
    (llama / "backbone" / "code.py").write_text("raise SystemExit('ran')", encoding="utf-8")
    with pytest.raises(InputError, match="cannot load the backbone"):
        load(llama, layer=LAYER)


def test_a_family_that_cannot_look_ahead_is_refused_at_load(tmp_path):
    """The first GPT has its causal mask built in."""
    OpenAIGPTModel(OpenAIGPTConfig(vocab_size=260, n_embd=32, n_layer=2, n_head=2)).save_pretrained(
        tmp_path / "backbone"
    )
    byte_tokenizer().save_pretrained(tmp_path / "backbone")
    with pytest.raises(SplareError, match="OpenAIGPTModel stayed causal"):
        load(tmp_path)
    load(tmp_path, bidirectional=False)


def test_layers_that_cannot_look_ahead_are_refused_among_others_that_can(tmp_path):
    settings = Qwen3NextConfig(
        vocab_size=260,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=16,
        linear_num_key_heads=2,
        linear_num_value_heads=2,
        linear_key_head_dim=8,
        linear_value_head_dim=8,
        num_experts=2,
        num_experts_per_tok=1,
        moe_intermediate_size=16,
        shared_expert_intermediate_size=16,
    )
    Qwen3NextModel(settings).save_pretrained(tmp_path / "backbone")
    byte_tokenizer().save_pretrained(tmp_path / "backbone")
    with pytest.raises(SplareError, match="has layers of the kind 'linear_attention', which see only earlier tokens"):
        load(tmp_path)


def test_an_adapter_of_another_model_is_refused(llama, family_folder):
    other = get_peft_model(load(family_folder("qwen3"), layer=0).model, LoraConfig(r=4, target_modules=["q_proj"]))
    other.save_pretrained(llama / "adapter")
    with pytest.raises(
        InputError, match=r"lacks .*layers\.1\..* and 3 more tensors .* another model than a LlamaModel"
    ):
        load(llama, layer=LAYER, adapter="adapter")


def test_an_adapter_of_the_model_with_its_head_is_refused(llama):
    """Its tensors are named one level deeper, and peft would go on with zeros."""
    get_peft_model(load(llama, layer=LAYER).model, LoraConfig(r=4)).save_pretrained(llama / "adapter")
    path = llama / "adapter" / "adapter_model.safetensors"
    deeper = {
        key.replace("base_model.model.", "base_model.model.model."): value for key, value in load_file(path).items()
    }
    save_file(deeper, path)
    with pytest.raises(InputError, match="another model than a LlamaModel"):
        load(llama, layer=LAYER, adapter="adapter")


def saved_bert(family_folder, folder, length):
    side = type(config_of().query)(max_length=length)
    head = SparseAutoencoder(torch.randn(16, 32), torch.zeros(16))
    config = config_of(layer=0, width=16, query=side, document=side)
    SplareModel(config, load(family_folder("bert"), layer=0), head).save_pretrained(folder)
    return folder


def test_texts_longer_than_the_table_of_positions_are_refused(family_folder, tmp_path):
    folder = saved_bert(family_folder, tmp_path / "model", 131)
    with pytest.raises(InputError, match="is to take 131 tokens of a text, but its backbone has 130 positions"):
        SplareModel.from_pretrained(folder, device="cpu")
    sides = {"query": {"max_length": 130}, "document": {"max_length": 130}}
    model = SplareModel.from_pretrained(folder, device="cpu", **sides)
    assert model.encode_documents(["a" * 200]).nnz


def test_a_head_that_reads_states_of_another_size_is_refused(family_folder, tmp_path):
    folder = saved_bert(family_folder, tmp_path / "model", 64)
    sha256 = SparseAutoencoder(torch.randn(16, 48), torch.zeros(16)).save(folder / "head")
    config_of(layer=0, width=16, head_sha256=sha256).save(folder)
    with pytest.raises(InputError, match="reads states of size 48, but its backbone gives 32"):
        SplareModel.from_pretrained(folder, device="cpu")


def test_a_missing_backbone_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="cannot load the backbone nobody/nothing of tiny"):
        load(tmp_path, backbone="nobody/nothing")


def test_settings_of_a_side_are_part_of_the_identity(family_folder, tmp_path):
    folder = saved_bert(family_folder, tmp_path / "model", 64)
    usual = SplareModel.from_pretrained(folder, device="cpu")
    short = SplareModel.from_pretrained(folder, device="cpu", query={"max_length": 8, "prompt": "q"})
    assert (short.config.query.max_length, short.config.query.prompt) == (8, "q")
    assert short.config.document == usual.config.document
    assert short.config.fingerprint() != usual.config.fingerprint()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"query": {"length": 8}}, "the settings of query are prompt, max_length, top_k, scale, not length"),
        ({"document": {"max_length": 0}}, "max_length of document must be a whole number from 1, not 0"),
        ({"document": {"max_length": "8"}}, "must be a whole number from 1, not '8'"),
        ({"dtype": "int8"}, "there is no dtype 'int8' for weights; try auto, float32 or bfloat16 or float16"),
        ({"dtype": torch.int8}, "there is no dtype 'int8'"),
        ({"quantization": "3bit"}, "there is no quantisation '3bit'"),
        ({"attention": "paged"}, "there is no attention 'paged'"),
        ({"device": "tpu"}, "the device 'tpu' cannot be used here"),
    ],
)
def test_bad_options_are_one_sentence(family_folder, tmp_path, options, message):
    folder = saved_bert(family_folder, tmp_path / "model", 64)
    with pytest.raises(InputError, match=message):
        SplareModel.from_pretrained(folder, **{"device": "cpu", **options})


def test_what_is_left_in_a_file_on_purpose_is_not_reported(llama, caplog):
    load(llama, layer=0)
    assert "LOAD REPORT" not in caplog.text
    from transformers import AutoModel

    settings = load(llama, layer=0).model.config
    AutoModel.from_pretrained(llama / "backbone", config=settings)
    assert "LOAD REPORT" in caplog.text  # only there


@pytest.mark.parametrize("name", ["/gone/bert", "trainings/last/bert"])
def test_a_backbone_in_a_folder_that_is_elsewhere_now(tiny_folder, tmp_path, name):
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder, folder)
    settings = json.loads((folder / "splare_config.json").read_text(encoding="utf-8"))
    (folder / settings["backbone"]).rename(tmp_path / "bert")
    (folder / "splare_config.json").write_text(json.dumps({**settings, "backbone": name}), encoding="utf-8")
    with pytest.raises(InputError, match=rf"in {name}, a folder that is not here; copy it to {folder}/bert and write"):
        SplareModel.from_pretrained(folder, device="cpu")
    (tmp_path / "bert").rename(folder / "bert")
    (folder / "splare_config.json").write_text(json.dumps({**settings, "backbone": "bert"}), encoding="utf-8")
    assert SplareModel.from_pretrained(folder, device="cpu").encode_queries(["fox"]).nnz
