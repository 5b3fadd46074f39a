"""A model as a sparse encoder of stock modules, which sentence-transformers loads without this package.

The stock pipeline is Transformer, Dense on token states (for a SAE or a decoder head), a mask over special tokens and
SPLADE's max pooling. It is exact for plain ReLU SAEs and for language-model heads; what it cannot express is refused,
and what was written is loaded again and compared before it is published.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from sentence_transformers import SparseEncoder
from sentence_transformers.base.modules import Dense, Transformer
from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
from sentence_transformers.sparse_encoder.modules import SpladePooling
from torch import nn
from transformers import AutoModelForMaskedLM

from splare_plugins.backbone.source import Source, find_backbone
from splare_plugins.config import SIDES, SplareConfig
from splare_plugins.errors import InputError
from splare_plugins.heads import LanguageModelHead, MaskedLanguageModelHead, SparseAutoencoder
from splare_plugins.machine.files import read_json, require_free, write_json
from splare_plugins.machine.folders import replacing_folder
from splare_plugins.model.splade import recognise_splade
from splare_plugins.model.splare import SplareModel

TOLERANCE = 1e-4
_PROBES = (
    "What does a search engine find?",
    " ".join(["The quick brown fox jumps over the lazy dog, 搜索引擎 findet Dokumente."] * 9),
)


def export_stock(model: SplareModel, folder: str | Path, *, overwrite: bool = False) -> None:
    """Write ``model`` so that ``SparseEncoder(folder)`` gives its vectors, without any code of ours.

    The vectors are those of ``encode_queries(texts, top_k=None)`` and ``encode_documents(texts, top_k=None)``; a top-k
    is given to the encoder's calls as ``max_active_dims``, unless both sides have the same, which is stored. Three
    kinds of text differ: an empty one of a model that pools special tokens has no empty row there, a special token
    written out in a text (``"[SEP]"``) is not pooled there, and white space at the ends and control characters, which
    :func:`splare_plugins.backbone.texts.plain_text` takes away, are left to the tokenizer there.

    Args:
        model: merged, in float32.
        folder: where to write.
        overwrite: replace an earlier export.

    Raises:
        InputError: if stock modules cannot give the same vectors, naming why.
    """
    folder = Path(folder)
    require_free(folder, overwrite=overwrite, marker="modules.json", what="sparse encoder")
    _require_exact(model)
    config = model.config
    top_k = config.query.top_k if config.query.top_k == config.document.top_k else None
    with replacing_folder(folder) as made, TemporaryDirectory(dir=made) as scratch:
        encoder = SparseEncoder(
            modules=_modules(model, Path(scratch) / "transformer"),
            device="cpu",
            prompts={side: config.side(side).prompt for side in SIDES},
            similarity_fn_name="dot",
            max_active_dims=top_k,
        )
        encoder.save_pretrained(str(made))
        _require_same_vectors(model, made)
        _note_top_k(made / "README.md", config)


def _require_exact(model: SplareModel) -> None:
    config, head = model.config, model.head
    reasons = {
        "its SAE keeps the k largest latents of each token": isinstance(head, SparseAutoencoder)
        and head.k is not None,
        "its SAE has thresholds (JumpReLU)": isinstance(head, SparseAutoencoder) and bool(head.theta.any()),
        "its logits are soft-capped": isinstance(head, LanguageModelHead) and head.softcap is not None,
        "tokens with outlying norms leave its pool": config.max_token_norm_ratio is not None,
        "its weights are divided by their norm": bool(config.norm_power),
        "its prompts are kept out of the pool": not config.pool_all_tokens
        and bool(config.query.prompt or config.document.prompt),
        "its backbone is quantised": bool(getattr(model.backbone.model, "is_quantized", False)),
        "it is not in float32": head.W.dtype != torch.float32 or model.backbone.model.dtype != torch.float32,
    }
    for reason, holds in reasons.items():
        if holds:
            raise InputError(
                f"{config.name} cannot be exported to stock modules exactly, because {reason}; "
                "save it with SplareEncoder instead"
            )


def _modules(model: SplareModel, scratch: Path) -> list[nn.Module]:
    config, head = model.config, model.head
    model.backbone.tokenizer.save_pretrained(scratch)
    lengths: dict[str, Any] = {"query_length": config.query.max_length, "document_length": config.document.max_length}
    if config.query.max_length == config.document.max_length:
        lengths = {}
    lengths["max_seq_length"] = max(config.query.max_length, config.document.max_length)
    modules: list[nn.Module]
    if isinstance(head, MaskedLanguageModelHead):
        _whole_model(model).save_pretrained(scratch)
        modules = [Transformer(str(scratch), transformer_task="fill-mask", **lengths)]
    else:
        model.backbone.model.save_pretrained(scratch)
        # Without the flag, transformers puts the normed state in the last place.
        flags = {"is_causal": not config.bidirectional, "tie_last_hidden_states": config.final_norm}
        write_json(scratch / "config.json", {**read_json(scratch / "config.json"), **flags})
        output = "last_hidden_state" if config.final_norm else ["hidden_states", -1]
        modules = [
            Transformer(
                str(scratch),
                modality_config={"text": {"method": "forward", "method_output_name": output}},
                module_output_name="token_embeddings",
                **lengths,
            ),
            _dense(head),
        ]
    if not config.pool_all_tokens and (special := _added_tokens(model)):
        modules.append(MultiVectorMask(special, skiplist_tasks=list(SIDES)))
    return [*modules, SpladePooling("max", embedding_dimension=head.width)]


def _dense(head: Any) -> Dense:
    """The head's rows on every token's state."""
    scale = getattr(head, "scale", 1.0)
    return Dense(
        head.state_size,
        head.width,
        activation_function=nn.Identity(),
        init_weight=head.W.detach().cpu() * scale,
        init_bias=head.b.detach().cpu() * scale,
        module_input_name="token_embeddings",
        module_output_name="token_embeddings",
    )


def _whole_model(model: SplareModel) -> Any:
    """The masked language model that backbone and head were taken from, with the backbone's present weights."""
    folder = model.folder
    if folder is None:
        raise InputError(f"{model.config.name} was not loaded from a folder, so its whole model is not known; save it")
    splade = recognise_splade(folder)
    if splade is None:
        source = find_backbone(model.config, folder, local_files_only=False)
    else:
        source = Source(str(splade.transformer), {})
    try:
        whole = AutoModelForMaskedLM.from_pretrained(
            source.name, **source.options, dtype=torch.float32, use_safetensors=True
        )
    except (OSError, ValueError) as error:
        raise InputError(f"{source.name} does not hold the whole model of {model.config.name}: {error}") from error
    whole.base_model.load_state_dict(model.backbone.model.state_dict(), strict=False)
    return whole


def _added_tokens(model: SplareModel) -> list[str]:
    """What the tokenizer puts around a text."""
    tokenizer = model.backbone.tokenizer
    encoding = tokenizer("a", return_special_tokens_mask=True)
    pairs = zip(encoding["input_ids"], encoding["special_tokens_mask"], strict=True)
    return [str(tokenizer.convert_ids_to_tokens(token)) for token, special in pairs if special]


def _require_same_vectors(model: SplareModel, folder: Path) -> None:
    encoder = SparseEncoder(str(folder), device="cpu", local_files_only=True)
    limit = model.config.width
    for ours, theirs in (
        (model.encode_queries, encoder.encode_query),
        (model.encode_documents, encoder.encode_document),
    ):
        expected = ours(_PROBES, top_k=None).toarray()
        found = theirs(list(_PROBES), max_active_dims=limit, convert_to_sparse_tensor=False).numpy()
        if (difference := float(abs(found - expected).max())) > TOLERANCE:
            raise InputError(
                f"{model.config.name} cannot be exported to stock modules exactly: their vectors differ by "
                f"{difference:.1e}; save it with SplareEncoder instead"
            )


def _note_top_k(card: Path, config: SplareConfig) -> None:
    numbers = {side: config.side(side).top_k for side in SIDES}
    calls = [f"`encode_{side}(texts, max_active_dims={number})`" for side, number in numbers.items() if number]
    if len(set(numbers.values())) > 1 and card.is_file():
        text = card.read_text(encoding="utf-8")
        card.write_text(
            f"{text}\n## Top-k\n\nThis model is meant to be called with {' and '.join(calls)}.\n", encoding="utf-8"
        )
