"""Tiny random models of the real classes, saved as they lie on a hub: with their head, and all their layers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    BertConfig,
    Gemma2Config,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3TextConfig,
    LlamaConfig,
    MistralConfig,
    ModernBertConfig,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
    SiglipVisionConfig,
    XLMRobertaConfig,
)

from splare_plugins.backbone import Backbone, load_backbone
from splare_plugins.config import SideConfig, SplareConfig
from tests.tiny import byte_tokenizer

DEPTH = 4
LAYER = 2
WINDOW = 8  # shorter than the texts, so that local layers matter

_SIZES = {
    "vocab_size": 260,
    "hidden_size": 32,
    "num_hidden_layers": DEPTH,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 130,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_DECODER = {**_SIZES, "num_key_value_heads": 1}
_HEADS = {**_DECODER, "head_dim": 16}
_LOCAL = {"sliding_window": WINDOW, "layer_types": ["sliding_attention", "full_attention"] * (DEPTH // 2)}
_IMAGES = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}


def _gemma3_with_images() -> PreTrainedConfig:
    text = Gemma3TextConfig(**_HEADS, **_LOCAL).to_dict()
    return Gemma3Config(text_config=text, vision_config=SiglipVisionConfig(**_IMAGES).to_dict(), image_token_index=259)


DECODERS: dict[str, Callable[[], PreTrainedConfig]] = {
    "llama": lambda: LlamaConfig(**_DECODER),
    "gemma2": lambda: Gemma2Config(**_HEADS, **_LOCAL, query_pre_attn_scalar=16),
    "gemma3": lambda: Gemma3TextConfig(**_HEADS, **_LOCAL, query_pre_attn_scalar=16),
    "gemma3-with-images": _gemma3_with_images,
    "qwen2": lambda: Qwen2Config(**_DECODER, use_sliding_window=True, sliding_window=WINDOW, max_window_layers=1),
    "qwen3": lambda: Qwen3Config(**_HEADS, use_sliding_window=True, sliding_window=WINDOW, max_window_layers=1),
    "mistral": lambda: MistralConfig(**_HEADS, sliding_window=WINDOW),
}
ENCODERS: dict[str, Callable[[], PreTrainedConfig]] = {
    "bert": lambda: BertConfig(**_SIZES),
    "xlm-r": lambda: XLMRobertaConfig(**_SIZES),
    "modernbert": lambda: ModernBertConfig(
        **_SIZES, local_attention=2 * WINDOW, global_attn_every_n_layers=2, cls_token_id=1, sep_token_id=2
    ),
}
FAMILIES = {**DECODERS, **ENCODERS}
# On a CPU the kernels for 4-bit weights take rows of whole blocks of 64.
WIDE = {"wide-llama": lambda: LlamaConfig(**{**_DECODER, "hidden_size": 64, "intermediate_size": 128})}


def save_family(name: str, folder: Path) -> Path:
    """``folder/backbone``, with the head that such a checkpoint has."""
    torch.manual_seed(0)
    settings = {**FAMILIES, **WIDE}[name]()
    model: PreTrainedModel
    if isinstance(settings, Gemma3Config):
        model = Gemma3ForConditionalGeneration(settings)
    else:
        model = (AutoModelForMaskedLM if name in ENCODERS else AutoModelForCausalLM).from_config(settings)
    with torch.no_grad():  # the initial weights are so small that no layer does much
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(5)
    model.save_pretrained(folder / "backbone")
    byte_tokenizer().save_pretrained(folder / "backbone")
    return folder


def config_of(**options: object) -> SplareConfig:
    side = SideConfig(max_length=64)
    usual = {"name": "tiny", "revision": "0", "backbone": "backbone", "width": 1, "query": side, "document": side}
    return SplareConfig(**{**usual, **options})


def load(folder: Path, *, attention: str = "auto", device_map=None, **options: object) -> Backbone:
    return load_backbone(
        config_of(**options),
        folder,
        device=torch.device("cpu"),
        dtype=torch.float32,
        attention=attention,
        device_map=device_map,
        local_files_only=True,
    )


@torch.inference_mode()
def states_of(backbone: Backbone, texts: list[str]) -> list[Tensor]:
    states, offsets = backbone(backbone.tokenize(texts, "", 64))
    return list(states.split(offsets.diff().tolist()))


@torch.inference_mode()
def whole_states(folder: Path, text: str, layer: int, *, causal: bool = False) -> Tensor:
    """What layer ``layer`` of the whole model gives, taken by a hook where it comes out of the layer."""
    model: PreTrainedModel = AutoModel.from_pretrained(folder / "backbone", dtype=torch.float32).eval()
    model = getattr(model, "language_model", model)
    if not causal:
        model.config.is_causal = False
    layers: nn.ModuleList = model.layers if hasattr(model, "layers") else model.encoder.layer
    assert len(layers) == DEPTH
    caught: list[Tensor] = []
    layers[layer].register_forward_hook(
        lambda _module, _inputs, output: caught.append(output[0] if isinstance(output, tuple) else output)
    )
    ids = torch.tensor([byte_tokenizer()(text).input_ids])
    model(input_ids=ids)
    return caught[0].reshape(ids.shape[1], -1)
