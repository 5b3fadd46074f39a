from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaModel, Qwen3Config, Qwen3Model

from splare_plugins.backbone import Backbone, load_backbone, require_bidirectional
from splare_plugins.config import SplareConfig
from splare_plugins.errors import InputError, SplareError
from tests.tiny import TEXTS, byte_tokenizer

SIZES = {
    "vocab_size": 260,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 128,
}
FAMILIES = {"llama": (LlamaConfig, LlamaModel), "qwen3": (Qwen3Config, Qwen3Model)}


@pytest.fixture(params=FAMILIES)
def decoder_folder(request, tmp_path):
    torch.manual_seed(0)
    config, model = FAMILIES[request.param]
    extra = {"head_dim": 16} if request.param == "qwen3" else {}
    model(config(**SIZES, **extra)).save_pretrained(tmp_path / "backbone")
    byte_tokenizer().save_pretrained(tmp_path / "backbone")
    return tmp_path


def load(folder, **options) -> Backbone:
    config = SplareConfig(name="tiny", revision="0", backbone="backbone", width=1, **options)
    return load_backbone(config, folder, device=torch.device("cpu"), dtype=torch.float32)


@torch.inference_mode()
def states_of(backbone: Backbone, texts: list[str]) -> list[torch.Tensor]:
    states, offsets = backbone(backbone.tokenize(texts, "", 64))
    return list(states.split(offsets.diff().tolist()))


def test_decoders_become_bidirectional(decoder_folder):
    backbone = load(decoder_folder, layer=1)
    one, other = states_of(backbone, ["abcdef", "abcdeX"])
    assert not torch.allclose(one[0], other[0])


def test_a_text_has_the_same_states_alone_and_padded(decoder_folder):
    backbone = load(decoder_folder, layer=1)
    for text, together in zip(TEXTS, states_of(backbone, TEXTS), strict=True):
        torch.testing.assert_close(states_of(backbone, [text])[0], together, rtol=1e-4, atol=1e-5)


def test_causal_on_purpose_is_possible(decoder_folder):
    backbone = load(decoder_folder, layer=1, bidirectional=False)
    one, other = states_of(backbone, ["abcdef", "abcdeX"])
    torch.testing.assert_close(one[0], other[0])


def test_a_backbone_that_stayed_causal_is_refused(decoder_folder):
    backbone = load(decoder_folder, layer=1, bidirectional=False)
    with pytest.raises(SplareError, match="stayed causal"):
        require_bidirectional(backbone)


def test_the_cut_gives_the_raw_residual_of_its_layer(decoder_folder):
    cut, whole = load(decoder_folder, layer=1), load(decoder_folder, final_norm=True)
    assert len(cut.model.layers) == 2
    tokens = cut.tokenize(TEXTS[:1], "", 64)
    with torch.inference_mode():
        raw = whole.model(input_ids=torch.from_numpy(tokens[0].ids)[None], output_hidden_states=True).hidden_states[2]
        torch.testing.assert_close(cut(tokens)[0], raw[0])


def test_tokens_know_their_prompt_specials_and_spans(decoder_folder):
    backbone = load(decoder_folder)
    (tokens,) = backbone.tokenize(["ab"], "query: ", 64)
    assert tokens.keep.tolist() == [False] * 8 + [True, True, False]
    assert tokens.spans[tokens.keep].tolist() == [[0, 1], [1, 2]]
    assert not tokens.truncated
    (cut,) = backbone.tokenize(["ab" * 50], "query: ", 64)
    assert cut.truncated
    assert len(cut.ids) == 64
    assert isinstance(cut.ids, np.ndarray)


def test_a_missing_backbone_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="cannot load the backbone"):
        load_backbone(
            SplareConfig(name="tiny", revision="0", backbone="nobody/nothing", width=1),
            tmp_path,
            device=torch.device("cpu"),
            dtype=torch.float32,
            local_files_only=True,
        )
