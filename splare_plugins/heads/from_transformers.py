"""From a transformers language model to its head as ours.

Where a class keeps the parts of its head is written down here once per family; whether they were understood is
settled by a probe: the head must give the logits that the model itself gives.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import reduce
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

from splare_plugins.errors import InputError
from splare_plugins.heads.lm import LanguageModelHead
from splare_plugins.heads.mlm import MaskedLanguageModelHead

_PROBE = 8
_SUPPORTED = (
    "supported are decoders with one linear layer over the vocabulary (Llama, Qwen, Gemma, Mistral) and the "
    "masked language models of BERT, DistilBERT, RoBERTa, XLM-R, MPNet and ModernBERT"
)


class _Layout(NamedTuple):
    """Where the classes of a family keep their masked-language-model head."""

    dense: str
    norm: str
    activation: Callable[[PreTrainedConfig], str]


_LAYOUTS = (
    # BERT
    _Layout(
        "cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", lambda config: config.hidden_act
    ),
    # DistilBERT
    _Layout("vocab_transform", "vocab_layer_norm", lambda config: config.activation),
    # RoBERTa, XLM-R, CamemBERT, MPNet: their code says gelu, whatever the config says
    _Layout("lm_head.dense", "lm_head.layer_norm", lambda _: "gelu"),
    # ModernBERT
    _Layout("head.dense", "head.norm", lambda config: config.classifier_activation),
)


def head_of(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, card: dict[str, Any]) -> LanguageModelHead:
    """The head of a causal or masked language model.

    Args:
        model: the whole model, any dtype; it shares its tensors with the head.
        tokenizer: names the logits.
        card: where the model comes from.

    Raises:
        InputError: if the model computes its logits in a way that the two heads do not cover.
    """
    name = type(model).__name__
    decoder = model.get_output_embeddings()
    if not isinstance(decoder, nn.Linear):
        raise InputError(f"{name} has no output embeddings to make a head of; {_SUPPORTED}")
    W, b = decoder.weight.detach(), _detached(decoder.bias)
    tokens = token_names(tokenizer, len(W))
    settings = model.config.get_text_config()
    head: LanguageModelHead
    for layout in _LAYOUTS:
        dense, norm = _part(model, layout.dense), _part(model, layout.norm)
        if isinstance(dense, nn.Linear) and isinstance(norm, nn.LayerNorm):
            head = MaskedLanguageModelHead(
                W,
                b,
                dense=dense.weight.detach(),
                dense_bias=_detached(dense.bias),
                norm=norm.weight.detach(),
                norm_bias=_detached(norm.bias),
                activation=layout.activation(settings),
                eps=norm.eps,
                tokens=tokens,
                card=card,
            )
            break
    else:
        scale = getattr(settings, "logit_scale", None) or 1 / (getattr(settings, "logits_scaling", None) or 1)
        softcap = getattr(settings, "final_logit_softcapping", None)
        head = LanguageModelHead(W, b, scale=scale, softcap=softcap, tokens=tokens, card=card)
    if not _gives_the_logits_of(head, model):
        raise InputError(f"{name} computes its logits in a way that no head here reproduces; {_SUPPORTED}")
    return head


def token_names(tokenizer: PreTrainedTokenizerFast, width: int) -> list[str]:
    """The tokens of a vocabulary as a person reads them, at most ``width``.

    Byte-level tokens are decoded where they are whole characters; all others stay as the vocabulary has them, so
    that a word's start and its continuation keep different names.
    """
    tokens: list[str] = tokenizer.convert_ids_to_tokens(list(range(min(width, len(tokenizer)))))
    # Ids between the vocabulary and added tokens may be free.
    tokens = [f"f{number}" if token is None else token for number, token in enumerate(tokens)]
    decoder = json.loads(tokenizer.backend_tokenizer.to_str())["decoder"]
    if '"type":"ByteLevel"' not in json.dumps(decoder, separators=(",", ":")):
        return tokens
    special = set(tokenizer.all_special_ids)
    decoded = [token if number in special else tokenizer.decode([number]) for number, token in enumerate(tokens)]
    return [token if "\ufffd" in text or not text else text for token, text in zip(tokens, decoded, strict=True)]


@torch.inference_mode()
def _gives_the_logits_of(head: LanguageModelHead, model: PreTrainedModel) -> bool:
    ids = (torch.arange(_PROBE) % head.width)[None].to(model.device)
    expected = torch.log1p(torch.relu(model(input_ids=ids).logits[0].float()))
    states = model.base_model(input_ids=ids).last_hidden_state[0]
    # A pool over texts of one token each is the bare head.
    found = head(states, torch.arange(_PROBE + 1, device=ids.device), torch.ones_like(ids[0], dtype=torch.bool))
    tolerance = 1e-4 if states.dtype == torch.float32 else 5e-2
    return bool(torch.allclose(found, expected, rtol=tolerance, atol=tolerance))


def _part(model: nn.Module, path: str) -> nn.Module | None:
    return reduce(lambda module, name: getattr(module, name, None), path.split("."), model)  # type: ignore[arg-type, return-value]


def _detached(bias: Tensor | None) -> Tensor | None:
    return None if bias is None else bias.detach()
