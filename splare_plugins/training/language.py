"""The whole language model under a model: all its layers and its head."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer

from splare_plugins.backbone import Backbone, require_bidirectional
from splare_plugins.backbone.source import find_backbone
from splare_plugins.errors import InputError, splare_command
from splare_plugins.heads.from_transformers import head_of
from splare_plugins.heads.lm import LanguageModelHead
from splare_plugins.training.student import Base, read_base


class LanguageModel(NamedTuple):
    """A whole language model in parts."""

    backbone: Backbone
    """All layers, bidirectional."""
    head: LanguageModelHead
    base: Base
    """The model that it belongs to, bidirectional."""
    decoder: bool


def load_language_model(name: str, *, attention: str, dtype: torch.dtype) -> LanguageModel:
    """All layers and the head of the language model under a model.

    Raises:
        InputError: if it lacks layers or its head, or the model has an adapter already.
    """
    base = read_base(name)
    if base.config.adapter is not None:
        command = splare_command("train", "merge", name, "-o", "FOLDER")
        raise InputError(f"{name} has an adapter already; put it into the weights, and train that FOLDER: {command}")
    source = find_backbone(base.config, base.folder, local_files_only=False)
    options = {**source.options, "trust_remote_code": False}
    chosen = {} if attention == "auto" else {"attn_implementation": attention}
    try:
        settings = AutoConfig.from_pretrained(source.name, **options)
        decoder = any(str(each).endswith("ForCausalLM") for each in settings.architectures or ())
        kind = AutoModelForCausalLM if decoder else AutoModelForMaskedLM
        whole, loading = kind.from_pretrained(source.name, dtype=dtype, output_loading_info=True, **options, **chosen)
        tokenizer = AutoTokenizer.from_pretrained(source.name, **options)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise InputError(f"cannot load {source.name} as a language model: {' '.join(str(error).split())}") from error
    if missing := sorted(loading["missing_keys"]):
        raise InputError(
            f"{source.name} lacks {missing[0]} and {len(missing) - 1} more tensors of a language model; prediction of "
            "tokens needs its head and all its layers"
        )
    head = head_of(whole.eval(), tokenizer, {"source": source.name})
    backbone = Backbone(whole.base_model, tokenizer)
    if decoder:
        whole.base_model.config.is_causal = False
        require_bidirectional(backbone)
        base = base._replace(config=dataclasses.replace(base.config, bidirectional=True))
    return LanguageModel(backbone, head, base, decoder)
