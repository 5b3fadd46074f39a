"""Texts packed into one row have the states that they have padded, in every family; or they are padded."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import BertConfig, BertModel, MPNetConfig, MPNetModel, T5Config, T5EncoderModel

from splare_plugins.backbone import Backbone, load_backbone
from splare_plugins.backbone.fit import pack_where_it_fits
from splare_plugins.backbone.packed import HAS_KERNEL, PACKED, attend, attending
from splare_plugins.errors import InputError
from tests.backbone.families import DECODERS, LAYER, config_of, load, states_of
from tests.tiny import TEXTS, byte_tokenizer, tiny_model

MIXED = [*TEXTS, "abcdefghijklmnopqrstuvwxyz" * 2, "", "ab", *("words of many lengths " * n for n in (1, 2, 3))]
# Its scores are capped, which these kernels leave out.
CAPPED = "gemma2"


def agree(folder, **options):
    packed, padded = load(folder, attention="packed", **options), load(folder, **options)
    assert packed.packed and packed.model.config._attn_implementation == PACKED
    assert not padded.packed
    for order in (MIXED, MIXED[::-1]):
        torch.testing.assert_close(states_of(packed, order), states_of(padded, order), rtol=1e-4, atol=1e-4)
    return packed, padded


def test_states_are_those_of_padded_texts(folder, family):
    if family != CAPPED:
        agree(folder, layer=LAYER)


@pytest.mark.parametrize("name", [name for name in DECODERS if name != CAPPED])
def test_causal_ones_too(family_folder, name):
    agree(family_folder(name), layer=LAYER, bidirectional=False)


def test_a_model_that_is_trained_gets_padded_texts(family_folder):
    packed, padded = agree(family_folder("llama"), layer=LAYER)
    batch = packed.tokenize(MIXED, "", 64)
    wanted, _ = padded(batch)
    seen = []
    packed.model.layers[0].register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0].shape[0]))
    torch.testing.assert_close(packed(batch)[0], wanted, rtol=1e-4, atol=1e-4)
    assert packed(batch)[0].requires_grad
    packed.model.train()
    with torch.no_grad():  # as GradCache's first pass, whose vectors must be those of the second
        packed(batch)
    packed.model.eval()
    with torch.no_grad():
        packed(batch)
    assert seen == [len(MIXED)] * 3 + [1]


def test_a_saved_backbone_does_not_name_our_attention(family_folder, tmp_path):
    load(family_folder("llama"), layer=LAYER, attention="packed").save(tmp_path)
    assert PACKED not in (tmp_path / "config.json").read_text()


def test_a_family_that_does_not_fit_says_so_if_it_was_asked(family_folder):
    with pytest.raises(InputError, match=r"Gemma2Model cannot take packed texts: its attention is 'eager', .*auto"):
        load(family_folder(CAPPED), layer=LAYER, attention="packed")


SIZES = {"vocab_size": 260, "pad_token_id": 0}
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, **SIZES}


class Misled(BertModel):
    """Leaves out positions, as a family might that counts them in a way of its own."""

    def forward(self, *args, position_ids=None, **options):
        return super().forward(*args, **options)


class Deaf(BertModel):
    """Does not hand the bounds of texts on to its attention."""

    def forward(self, *args, cu_seq_lens_q=None, **options):
        return super().forward(*args, **options)


STRANGERS = {
    "positions": lambda: Misled(BertConfig(**SMALL), add_pooling_layer=False),
    "bounds": lambda: Deaf(BertConfig(**SMALL), add_pooling_layer=False),
    "relative positions": lambda: MPNetModel(MPNetConfig(**SMALL, bos_token_id=1), add_pooling_layer=False),
    "no positions": lambda: T5EncoderModel(T5Config(d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2, **SIZES)),
}


@pytest.mark.parametrize("name", STRANGERS)
@torch.inference_mode()
def test_a_family_that_gives_other_states_stays_padded(name):
    torch.manual_seed(0)
    model = STRANGERS[name]().eval()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.mul_(5)
    backbone = Backbone(model, byte_tokenizer())
    usual, before = model.config._attn_implementation, states_of(backbone, TEXTS)
    assert pack_where_it_fits(backbone, longest=64, anywhere=True)
    assert not backbone.packed and model.config._attn_implementation == usual
    torch.testing.assert_close(states_of(backbone, TEXTS), before, rtol=0, atol=0)


def test_padded_where_there_is_no_kernel(family_folder):
    backbone = load(family_folder("bert"))
    assert "on cuda, in bfloat16" in pack_where_it_fits(backbone, longest=64)
    assert not backbone.packed


def test_more_tokens_than_positions_are_one_batch(family_folder):
    """The table has room for 128 tokens of one text, and a row holds many texts."""
    packed, padded = (load(family_folder("xlm-r"), layer=LAYER, attention=name) for name in ("packed", "auto"))
    texts = MIXED * 8
    torch.testing.assert_close(states_of(packed, texts), states_of(padded, texts), rtol=1e-4, atol=1e-4)


def test_vectors_of_a_model_are_those_of_padded_texts():
    usual = tiny_model()
    model = tiny_model()
    with torch.inference_mode():
        assert pack_where_it_fits(model.backbone, longest=128, anywhere=True) is None
    assert model.packed and not usual.packed
    for budget in (1, 100, 4096):
        for encode in ("encode_documents", "encode_queries"):
            mine, wanted = (
                getattr(each, encode)(MIXED, tokens_per_batch=budget, top_k=None) for each in (model, usual)
            )
            assert abs(mine - wanted).max() < 1e-4 * abs(wanted).max()


@pytest.mark.skipif(not HAS_KERNEL, reason="this torch has no such kernel")
@pytest.mark.parametrize("window", [None, 8])
@pytest.mark.parametrize("causal", [False, True])
@torch.inference_mode()
def test_the_kernel_takes_what_it_is_given(causal, window):
    """As far as that shows without a GPU: torch goes through the call with tensors that have shapes and no values."""
    layer = SimpleNamespace(is_causal=causal, config=SimpleNamespace(sliding_window=window))
    with FakeTensorMode(allow_non_fake_inputs=True), attending(torch.device("cuda"), torch.bfloat16):
        query, key = (
            torch.empty(1, 20, heads, 64, device="cuda", dtype=torch.bfloat16).transpose(1, 2) for heads in (4, 2)
        )
        bounds = torch.empty(3, dtype=torch.int32, device="cuda")
        states, _ = attend(
            layer, query, key, key, None, scaling=0.1, sliding_window=window, cu_seq_lens_q=bounds, max_length_q=15
        )
    assert (states.shape, states.dtype, states.device.type) == ((1, 20, 4, 64), torch.bfloat16, "cuda")


@pytest.mark.gpu
@torch.inference_mode()
def test_the_kernel_on_cuda(family_folder, family, caplog):
    """Taken by itself, and equal to padded texts as far as bfloat16 goes."""
    caplog.set_level(logging.INFO)
    options = {"device": torch.device("cuda"), "dtype": torch.bfloat16}
    folder = family_folder(family)
    packed = load_backbone(config_of(layer=LAYER), folder, **options)
    padded = load_backbone(config_of(layer=LAYER), folder, attention="eager", **options)
    assert packed.packed == (family != CAPPED), caplog.text
    mine, wanted = (torch.cat(states_of(each, MIXED)).float() for each in (packed, padded))
    assert (mine - wanted).norm() < 0.1 * wanted.norm()


@pytest.mark.gpu
def test_vectors_on_cuda_are_those_of_the_cpu():
    """The whole way, with batches that are computed ahead of their results."""
    usual, on_cuda = tiny_model(), tiny_model()
    on_cuda.backbone.to("cuda")
    on_cuda.head.place(torch.device("cuda"), torch.float32)
    found, wanted = (
        list(model.stream_documents(MIXED * 20, window=50, tokens_per_batch=200)) for model in (on_cuda, usual)
    )
    for mine, theirs in zip(found, wanted, strict=True):
        assert mine.items == theirs.items
        assert abs(mine.weights - theirs.weights).max() < 1e-2 * abs(theirs.weights).max()
