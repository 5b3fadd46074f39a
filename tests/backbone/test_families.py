"""What every family of backbones must keep: seeing both ways, at the right depth, whatever stands beside a text."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModel

from splare_plugins.backbone import load_backbone
from splare_plugins.backbone.placement import ATTENTIONS
from splare_plugins.heads import SparseAutoencoder
from splare_plugins.model.splare import SplareModel
from tests.backbone.families import DECODERS, DEPTH, LAYER, WINDOW, config_of, load, states_of, whole_states
from tests.tiny import TEXTS

LONG = "abcdefghijklmnopqrstuvwxyz" * 2
ON_CPU = [name for name in ATTENTIONS if name not in ("auto", "flash_attention_2")]


@pytest.mark.parametrize("attention", ON_CPU)
def test_the_first_token_sees_the_last_with_and_without_padding(folder, family, attention):
    if family == "gemma2" and attention in ("sdpa", "packed"):
        return  # refused: test_placement
    backbone = load(folder, layer=LAYER, attention=attention)
    short = "abcdefg"[: WINDOW - 3]  # within one local window, special tokens included
    for beside in ([], [LONG]):
        one, other = (states_of(backbone, [text, *beside])[0] for text in (short, short[:-1] + "X"))
        assert (one[0] - other[0]).norm() > 1e-3 * one[0].norm()


@pytest.mark.parametrize("attention", ON_CPU)
def test_attentions_agree(folder, family, attention):
    if family == "gemma2" and attention in ("sdpa", "packed"):
        return
    mine, usual = (states_of(load(folder, layer=LAYER, attention=name), [LONG, "a"]) for name in (attention, "auto"))
    torch.testing.assert_close(mine, usual, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_text_has_the_same_states_alone_and_in_a_batch(folder, side):
    """The tokenizer's own padding side does not count: texts are padded here, on the right, where positions stay."""
    backbone = load(folder, layer=LAYER)
    backbone.tokenizer.padding_side = side
    texts = [*TEXTS, LONG]
    for text, together in zip(texts, states_of(backbone, texts), strict=True):
        torch.testing.assert_close(states_of(backbone, [text])[0], together, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layer", range(DEPTH))
def test_the_cut_gives_the_whole_models_state_at_its_layer(folder, layer):
    """Before the final norm, at the last layer too."""
    torch.testing.assert_close(
        states_of(load(folder, layer=layer), [LONG])[0], whole_states(folder, LONG, layer), rtol=1e-4, atol=1e-5
    )


def test_all_layers_with_the_final_norm_are_the_model_itself(folder):
    backbone = load(folder, final_norm=True)
    model = AutoModel.from_pretrained(folder / "backbone").eval()
    model = getattr(model, "language_model", model)
    model.config.is_causal = False
    ids = torch.from_numpy(backbone.tokenize([LONG], "", 64)[0].ids)[None]
    with torch.inference_mode():
        torch.testing.assert_close(states_of(backbone, [LONG])[0], model(input_ids=ids).last_hidden_state[0])


@pytest.mark.parametrize("name", DECODERS)
def test_causal_on_purpose_is_the_published_model(name, family_folder):
    folder = family_folder(name)
    backbone = load(folder, layer=LAYER, bidirectional=False)
    torch.testing.assert_close(
        states_of(backbone, [LONG])[0], whole_states(folder, LONG, LAYER, causal=True), rtol=1e-4, atol=1e-5
    )
    one, other = (states_of(backbone, [text, LONG])[0] for text in ("abcdef", "abcdeX"))
    torch.testing.assert_close(one[:-2], other[:-2])


def test_an_encoder_looks_both_ways_whatever_the_config_says(family_folder):
    backbone = load(family_folder("bert"), layer=LAYER, bidirectional=False)
    torch.testing.assert_close(*(states_of(backbone, texts)[0] for texts in (["ab"], ["ab", LONG])))


def test_kinds_of_layers_are_cut_with_them(folder):
    settings = load(folder, layer=LAYER).model.config
    assert settings.num_hidden_layers == LAYER + 1
    kinds = getattr(settings, "layer_types", None)
    assert kinds is None or len(kinds) == LAYER + 1


@pytest.mark.parametrize("adapted", [False, True])
def test_a_saved_model_reloads_to_the_same_vectors(folder, adapted, tmp_path):
    torch.manual_seed(1)
    plain = load(folder, layer=LAYER)
    config = config_of(layer=LAYER, width=64)
    model = SplareModel(config, plain, SparseAutoencoder(torch.randn(64, 32), torch.zeros(64)))
    before = model.encode_documents(TEXTS, top_k=None)
    model.save_pretrained(tmp_path / "model")
    wanted = before
    if adapted:
        lora = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
        peft = get_peft_model(plain.model, lora)
        peft.save_pretrained(tmp_path / "model" / "adapter")
        wanted = model.encode_documents(TEXTS, top_k=None)
        assert abs(wanted - before).max() > 0.01
        dataclasses.replace(model.config, adapter="adapter").save(tmp_path / "model")
    loaded = SplareModel.from_pretrained(tmp_path / "model", device="cpu")
    loaded.save_pretrained(tmp_path / "again")
    for copy in (loaded, SplareModel.from_pretrained(tmp_path / "again", device="cpu")):
        assert abs(copy.encode_documents(TEXTS, top_k=None) - wanted).max() <= (1e-4 if adapted else 0)


def test_dtype_is_that_of_the_weights(folder):
    backbone = load_backbone(config_of(layer=0), folder, device=torch.device("cpu"), dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in backbone.model.parameters()} == {torch.bfloat16}
