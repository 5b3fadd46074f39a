"""The state of the last layer itself, whatever a family calls its final norm and whatever it puts behind it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from transformers import (
    AlbertConfig,
    AutoModel,
    BioGptConfig,
    BloomConfig,
    FalconConfig,
    GPT2Config,
    GPTNeoXConfig,
    Lfm2Config,
    MptConfig,
    OPTConfig,
    PreTrainedConfig,
    PreTrainedModel,
    XGLMConfig,
    XLNetConfig,
)

from splare_plugins.errors import InputError, SplareError
from tests.backbone.families import DEPTH, LAYER, load, states_of
from tests.tiny import byte_tokenizer

TEXT = "a text of some length, with its end"
SIZE = 32
_HF = {
    "vocab_size": 260,
    "hidden_size": SIZE,
    "num_hidden_layers": DEPTH,
    "num_attention_heads": 2,
    "max_position_embeddings": 130,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_FFN = {**_HF, "intermediate_size": 64}
_OPT = {**_HF, "ffn_dim": 64}
# Each with the place of its layers and what follows them.
NORMED: dict[str, tuple[Callable[[], PreTrainedConfig], str, set[str]]] = {
    "pythia": (lambda: GPTNeoXConfig(**_FFN), "layers", {"final_layer_norm"}),
    "opt": (lambda: OPTConfig(**_OPT, word_embed_proj_dim=SIZE), "decoder.layers", {"decoder.final_layer_norm"}),
    "opt-350m": (
        lambda: OPTConfig(**_OPT, word_embed_proj_dim=16, do_layer_norm_before=False),
        "decoder.layers",
        {"decoder.project_out"},
    ),
    "mpt": (
        lambda: MptConfig(vocab_size=260, d_model=SIZE, n_layers=DEPTH, n_heads=2, max_seq_len=130),
        "blocks",
        {"norm_f"},
    ),
    "biogpt": (lambda: BioGptConfig(**_FFN), "layers", {"layer_norm"}),
    "xglm": (
        lambda: XGLMConfig(
            vocab_size=260, d_model=SIZE, num_layers=DEPTH, attention_heads=2, ffn_dim=64, max_position_embeddings=130
        ),
        "layers",
        {"layer_norm"},
    ),
    "lfm2": (
        lambda: Lfm2Config(**_FFN, num_key_value_heads=1, layer_types=["conv", "full_attention"] * (DEPTH // 2)),
        "layers",
        {"embedding_norm"},
    ),
    "bloom": (lambda: BloomConfig(vocab_size=260, hidden_size=SIZE, n_layer=DEPTH, n_head=2), "h", {"ln_f"}),
    "falcon": (lambda: FalconConfig(**_HF), "h", {"ln_f"}),
    "gpt2": (
        lambda: GPT2Config(vocab_size=260, n_embd=SIZE, n_layer=DEPTH, n_head=2, n_positions=130),
        "h",
        {"ln_f"},
    ),
}
PLAIN: dict[str, Callable[[], PreTrainedConfig]] = {
    "albert": lambda: AlbertConfig(**_FFN, embedding_size=16),
    "xlnet": lambda: XLNetConfig(vocab_size=260, d_model=SIZE, n_layer=DEPTH, n_head=2, d_inner=64),
}


def save(settings: PreTrainedConfig, folder) -> PreTrainedModel:
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModel.from_config(settings).eval()
    with torch.no_grad():  # norms with an effect, and layers that do something
        for name, parameter in model.named_parameters():
            parameter.mul_(5) if parameter.dim() > 1 else parameter.add_(torch.rand_like(parameter))
            if "norm" in name or "ln" in name:
                parameter.add_(torch.rand_like(parameter))
    model.save_pretrained(folder / "backbone")
    byte_tokenizer().save_pretrained(folder / "backbone")
    return model


@torch.inference_mode()
def hooked(model: PreTrainedModel, layer: nn.Module) -> torch.Tensor:
    caught = []
    handle = layer.register_forward_hook(
        lambda _module, _inputs, output: caught.append(output[0] if isinstance(output, tuple) else output)
    )
    model(input_ids=torch.tensor([byte_tokenizer()(TEXT).input_ids]))
    handle.remove()
    return caught[0].reshape(-1, SIZE)


@pytest.mark.parametrize("layer", [LAYER, DEPTH - 1])
@pytest.mark.parametrize("name", NORMED)
def test_states_are_what_the_layer_gives(name, layer, tmp_path):
    settings, layers, after = NORMED[name]
    whole = save(settings(), tmp_path)
    backbone = load(tmp_path, layer=layer, bidirectional=False)
    wanted = hooked(whole, whole.get_submodule(f"{layers}.{layer}"))
    torch.testing.assert_close(states_of(backbone, [TEXT])[0], wanted, rtol=1e-4, atol=1e-4)
    gone = {module for module, part in backbone.model.named_modules() if isinstance(part, nn.Identity)}
    assert after <= gone


@pytest.mark.parametrize("name", PLAIN)
def test_a_family_without_a_final_norm_stays_as_it_is(name, tmp_path):
    whole = save(PLAIN[name](), tmp_path)
    backbone = load(tmp_path, bidirectional=False)
    with torch.inference_mode():
        wanted = whole(input_ids=torch.tensor([byte_tokenizer()(TEXT).input_ids])).last_hidden_state[0]
    torch.testing.assert_close(states_of(backbone, [TEXT])[0], wanted, rtol=1e-4, atol=1e-4)


def test_a_folder_saved_without_its_final_norm_loads_again(tmp_path):
    save(NORMED["pythia"][0](), tmp_path / "first")
    first = load(tmp_path / "first", layer=LAYER, bidirectional=False)
    first.save(tmp_path / "second" / "backbone")
    again = load(tmp_path / "second", layer=LAYER, bidirectional=False)
    torch.testing.assert_close(states_of(again, [TEXT]), states_of(first, [TEXT]), rtol=0, atol=0)
    with pytest.raises(InputError, match=r"lacks final_layer_norm\.bias"):
        load(tmp_path / "second", layer=LAYER, bidirectional=False, final_norm=True)


def test_a_change_that_is_not_a_module_is_refused(tmp_path, monkeypatch):
    from transformers import GPTNeoXModel

    save(NORMED["pythia"][0](), tmp_path)
    forward = GPTNeoXModel.forward

    def scaled(self, *args, **options):
        output = forward(self, *args, **options)
        output.last_hidden_state = output.last_hidden_state * 2
        return output

    monkeypatch.setattr(GPTNeoXModel, "forward", scaled)
    with pytest.raises(SplareError, match="GPTNeoXModel is not what its last layer gives"):
        load(tmp_path, layer=LAYER, bidirectional=False)
    load(tmp_path, layer=LAYER, bidirectional=False, final_norm=True)


def test_states_outside_the_range_of_the_dtype_are_refused_at_load(tmp_path):
    model = save(NORMED["pythia"][0](), tmp_path)
    with torch.no_grad():
        model.layers[0].mlp.dense_4h_to_h.bias.add_(torch.inf)
    model.save_pretrained(tmp_path / "backbone")
    with pytest.raises(SplareError, match="gives is not finite in float32, so a weight of the model is damaged"):
        load(tmp_path, layer=LAYER, bidirectional=False)
