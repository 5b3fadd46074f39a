"""A tiny random SPLARE model: a real BERT of two layers over bytes, with a random SAE."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from scipy.sparse import csr_array
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, BertModel, PreTrainedTokenizerFast

from splare_plugins.backbone import Backbone
from splare_plugins.config import SideConfig, SplareConfig
from splare_plugins.heads import SparseAutoencoder
from splare_plugins.model.splare import SplareModel
from splare_plugins.static import StaticQueryEncoder, TokenTable
from splare_plugins.static.pieces import HuggingFacePieces

TEXTS = [
    "The quick brown fox jumps over the lazy dog.",
    "Sparse autoencoders turn states into latents.",
    "Ein Suchindex findet Dokumente.",
    "搜索引擎 找到 文档",
    "a",
]


def byte_tokenizer(max_length: int = 128) -> PreTrainedTokenizerFast:
    """One token a byte, so that any text in any language works."""
    special = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {token: number for number, token in enumerate(special + alphabet)}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        unk_token="[UNK]",
        model_max_length=max_length,
    )


def tiny_model(*, width: int = 512, seed: int = 0, k: int | None = None, max_length: int = 128) -> SplareModel:
    """The model in memory, calibrated on :data:`TEXTS`."""
    torch.manual_seed(seed)
    bert = BertModel(
        BertConfig(
            vocab_size=260,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=max_length,
        ),
        add_pooling_layer=False,
    ).eval()
    sae = SparseAutoencoder(torch.randn(width, 32) * 0.3, torch.randn(width) * 0.1 - 0.5, k=k)
    config = SplareConfig(
        name="tiny",
        revision=f"seed-{seed}",
        backbone="backbone",
        width=width,
        query=SideConfig(prompt="q: ", max_length=max_length, top_k=20),
        document=SideConfig(prompt="d: ", max_length=max_length, top_k=60),
    )
    model = SplareModel(config, Backbone(bert, byte_tokenizer(max_length)), sae)
    model.calibrate(TEXTS, TEXTS)
    return model


def random_table(model: SplareModel, seed: int = 0) -> StaticQueryEncoder:
    """A table of eight random latents a token for a tiny model."""
    tokenizer = HuggingFacePieces(Tokenizer.from_str(model.backbone.tokenizer.backend_tokenizer.to_str()))
    weights = (
        np.random.default_rng(seed).random((len(model.backbone.tokenizer), model.config.width)).astype(np.float32)
    )
    return StaticQueryEncoder(model.config, TokenTable.from_weights(csr_array(weights), 8), tokenizer)


def save_tiny_model(folder: Path, **options: int) -> Path:
    """The model as a folder."""
    tiny_model(**options).save_pretrained(folder)
    return folder


CROSS_SIZES = {
    "vocab_size": 260,
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}


def save_tiny_cross_encoder(folder: Path, *, outputs: int = 1) -> Path:
    """A random cross-encoder over bytes, as transformers saves one."""
    torch.manual_seed(0)
    BertForSequenceClassification(BertConfig(**CROSS_SIZES, num_labels=outputs)).save_pretrained(folder)
    byte_tokenizer(64).save_pretrained(folder)
    return folder
