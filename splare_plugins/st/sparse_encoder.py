"""``SplareEncoder``: a SPLARE model as a ``SparseEncoder`` of sentence-transformers."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SparseEncoder
from sentence_transformers.sparse_encoder.model_card import SparseEncoderModelCardData
from torch import Tensor

from splare_plugins.backbone.finite import finite_rows, require_finite
from splare_plugins.backbone.placement import choose_device, choose_precision
from splare_plugins.config import SIDES, SplareConfig
from splare_plugins.errors import InputError
from splare_plugins.machine.files import read_json
from splare_plugins.model.builtin import BUILTIN_MODELS
from splare_plugins.model.find import ORIGIN_FILE, SETTINGS, locate_model
from splare_plugins.model.splare import SplareModel
from splare_plugins.st.modules import SplarePooling, SplareTransformer
from splare_plugins.st.origin import Origin, Placement, part_hashes

_POOLING = f"1_{SplarePooling.__name__}"  # where sentence-transformers puts the second module
_CARD = {
    "from sentence_transformers import SparseEncoder": "from splare_plugins.st import SplareEncoder",
    "SparseEncoder(": "SplareEncoder(",
    "pip install -U sentence-transformers": "pip install 'splare-plugins[sentence-transformers]'",
}
_KEPT = ("prompts", "default_prompt_name", "similarity_fn_name", "max_active_dims")


class SplareEncoder(SparseEncoder):
    """A SPLARE model with everything that sentence-transformers does with a sparse encoder.

    ``encode_query`` and ``encode_document`` give the vectors of ``SplareModel.encode_queries`` and
    ``encode_documents``: each side's prompt, length and top-k; special tokens and prompt are not pooled.
    ``max_active_dims`` of a call is another top-k. ``encode`` treats texts as documents.

    Saving writes an adapter alone where one was added; backbone and SAE are found again by the base's name and checked
    by hash. ``save_pretrained(folder, embed=True)`` writes all parts, and such a folder is a SPLARE model as well.

    Args:
        model_name_or_path: a SPLARE folder, the built-in name, a hub id, a SPLADE model, or what this class saved.
        modules: the two modules, instead of a name.
        device: ``"auto"`` or nothing takes cuda, else mps, else cpu.
        dtype: of the large matrices; ``"auto"`` is bfloat16 on cuda and float32 elsewhere.
        base: where the base of a saved encoder lies now, if not where it lay.
        revision: branch, tag or commit of a hub model.
        local_files_only: never ask a hub.
        **options: the other arguments of ``SparseEncoder``; ``trust_remote_code`` is never needed.

    Raises:
        InputError: if there is no such model or its parts do not fit.
        IdentityError: if the base of a saved encoder is another model than the one it was made from.
    """

    def __init__(
        self,
        model_name_or_path: str | Path | None = None,
        *,
        modules: list[torch.nn.Module] | None = None,
        device: str | None = None,
        dtype: str | torch.dtype = "auto",
        base: str | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
        **options: Any,
    ) -> None:
        if (model_name_or_path is None) == (modules is None):
            raise InputError("give SplareEncoder a model's name or folder, or its modules")
        chosen = choose_device(device or "auto", None)
        if model_name_or_path is not None:
            where = Placement(str(chosen), choose_precision(dtype, chosen), local_files_only)
            folder = locate_model(str(model_name_or_path), revision=revision, local_files_only=local_files_only)
            if (folder / ORIGIN_FILE).is_file():
                modules, saved = _load_saved(folder, base, where, keep_dtype=dtype == "auto")
            elif base is None:
                modules, saved = _load_model(str(model_name_or_path), revision, folder, where)
            else:
                raise InputError(f"{folder} was not saved by SplareEncoder, so it has no base; omit base")
            options = {**saved, **{name: value for name, value in options.items() if value is not None}}
        assert modules is not None
        config: SplareConfig = modules[0].config  # type: ignore[assignment]
        # Widgets and base models of a card are looked up in a hub.
        card = SparseEncoderModelCardData(model_name=config.name, local_files_only=True)
        card.base_model_revision = config.fingerprint()  # tells the caches of mteb one model from another
        super().__init__(modules=modules, device=str(chosen), **{"model_card_data": card, **options})

    @classmethod
    def from_pretrained(cls, name_or_path: str | Path, **options: Any) -> SplareEncoder:
        """The constructor, by the name that the rest of the package has for it."""
        return cls(name_or_path, **options)

    @classmethod
    def from_splare(
        cls, model: SplareModel, *, base: str | None = None, revision: str | None = None, **options: Any
    ) -> SplareEncoder:
        """An encoder that shares the weights of a model in memory.

        Args:
            model: a SPLARE model.
            base: name, folder or hub id that these very weights were loaded from, so that saving an adapter need not
                write them; without it, saving writes all of them.
            revision: commit of a hub base.
            **options: as for the constructor.
        """
        hashes = {} if base is None else part_hashes(model.config)
        modules = _modules(model, Origin(config=model.config, base=base, revision=revision, base_sha256=hashes))
        return cls(modules=modules, **{"device": str(model.device), **_settings(model.config), **options})

    @property
    def splare_config(self) -> SplareConfig:
        """The config of the encoder as it is now: prompts, lengths and top-k may have been changed."""
        config: SplareConfig = self[0].config
        query, document = (
            dataclasses.replace(config.side(side), prompt=self.prompts.get(side) or "", top_k=self[1].top_k.get(side))
            for side in SIDES
        )
        return dataclasses.replace(config, query=query, document=document)

    def splare_model(self) -> SplareModel:
        """The model for our own encoding and engines, sharing the weights as they are now, adapter included.

        Its identity is a hash over these weights; a saved folder names its files instead, so an index made with one is
        refused by the other.
        """
        digest = hashlib.sha256()
        for name, tensor in self.state_dict().items():
            digest.update(name.encode() + tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        config = dataclasses.replace(
            self.splare_config,
            revision="in-memory",
            backbone_sha256=digest.hexdigest(),
            backbone_revision=None,
            head_sha256=None,
            adapter=None,
            adapter_sha256=None,
        )
        self.eval()
        return _SharedModel(config, self[0].backbone, self[1].head)

    def encode(
        self, inputs: Any, prompt_name: str | None = None, prompt: str | None = None, *args: Any, **options: Any
    ) -> Any:
        """As in ``SparseEncoder``; texts without a task are documents, with their prompt and top-k."""
        if options.get("task") is None:
            options["task"] = "document"
            prompt_name = "document" if prompt_name is None and prompt is None else prompt_name
        return super().encode(inputs, prompt_name, prompt, *args, **options)

    def forward(self, inputs: dict[str, Any], **options: Any) -> dict[str, Any]:
        """As in ``SparseEncoder``; vectors that are not finite are refused, but in training, which has a guard."""
        features: dict[str, Any] = super().forward(inputs, **options)
        if self.training:
            return features
        ids, tokenizer = features["input_ids"], self[0].tokenizer
        with torch.no_grad():
            require_finite(
                finite_rows(features["sentence_embedding"]).cpu().numpy(),
                range(len(ids)),
                lambda number: str(tokenizer.decode(ids[number], skip_special_tokens=True)),
                self[0].backbone.model.dtype,
            )
        return features

    def decode(self, embeddings: Tensor, top_k: int | None = None) -> Any:
        """Names and weights of latents, largest first.

        Args:
            embeddings: shape ``[width]`` or ``[texts, width]``, sparse or dense.
            top_k: most latents of a text.

        Returns:
            A list of pairs, or one list for each text.
        """
        if embeddings.dim() == 2:
            return [self.decode(row, top_k) for row in embeddings]
        if top_k is not None and top_k < 1:
            raise InputError(f"top_k must be at least 1 or None, not {top_k}")
        weights = embeddings.to_dense() if embeddings.is_sparse else embeddings
        active = int((weights != 0).sum())
        values, latents = weights.topk(active if top_k is None else min(top_k, active))
        names = map(self[1].head.name, latents.tolist())
        return list(zip(names, values.tolist(), strict=True))

    def save(self, path: str, *args: Any, **options: Any) -> None:
        """As in ``SparseEncoder``; the model card shows this class."""
        self[0].origin = dataclasses.replace(self[0].origin, config=self.splare_config)
        super().save(path, *args, **options)
        card = Path(path) / "README.md"
        if card.is_file():
            text = card.read_text(encoding="utf-8")
            for theirs, ours in _CARD.items():
                text = text.replace(theirs, ours)
            card.write_text(text, encoding="utf-8")

    def save_pretrained(self, path: str | Path, *args: Any, embed: bool = False, **options: Any) -> None:
        """Write a folder that this class reads back to the same vectors.

        Args:
            path: the folder.
            *args: as in ``SparseEncoder``.
            embed: write backbone and head too, so that the folder stands alone, and as a SPLARE model:
                ``SplareModel.from_pretrained`` and ``splare --model`` read it.
            **options: as in ``SparseEncoder``.
        """
        self[0].embed = self[1].embed = embed
        try:
            super().save_pretrained(str(path), *args, **options)
        finally:
            self[0].embed = self[1].embed = False
        if embed:
            sha256 = read_json(Path(path) / _POOLING / SplarePooling.config_file_name)["sha256"]
            config = dataclasses.replace(Origin.load(Path(path)).config, head=_POOLING, head_sha256=sha256)
            config.save(Path(path))


class _SharedModel(SplareModel):
    """The model of an encoder, which alone knows how to save an adapter that is not merged."""

    def save_pretrained(self, folder: str | Path, **_: Any) -> None:
        raise InputError("save the encoder instead: encoder.save_pretrained(folder, embed=True) is a SPLARE model too")

    def push_to_hub(self, repo_id: str, **_: Any) -> str:
        raise InputError("save the encoder with embed=True, and push SplareModel.from_pretrained(folder) to the hub")


def _load_saved(
    folder: Path, base: str | None, where: Placement, *, keep_dtype: bool
) -> tuple[list[torch.nn.Module], dict[str, Any]]:
    """The modules and settings of a saved encoder."""
    settings = read_json(folder / SETTINGS)
    if keep_dtype:
        where = where._replace(dtype=getattr(torch, Origin.load(folder).dtype))
    modules: list[torch.nn.Module] = [
        kind.load(str(folder), subfolder=place, base=base, where=where)
        for kind, place in ((SplareTransformer, ""), (SplarePooling, _POOLING))
    ]
    return modules, {key: settings[key] for key in _KEPT if settings.get(key) is not None}


def _load_model(
    name: str, revision: str | None, folder: Path, where: Placement
) -> tuple[list[torch.nn.Module], dict[str, Any]]:
    """The modules of a SPLARE or SPLADE model, and their settings."""
    model = SplareModel.load(
        name, revision=revision, device=where.device, dtype=where.dtype, local_files_only=where.local_files_only
    )
    if Path(name).is_dir():
        name, revision = str(Path(name).resolve()), None
    elif name not in BUILTIN_MODELS:
        revision = folder.name  # a hub's snapshot is named by its commit
    origin = Origin(config=model.config, base=name, revision=revision, base_sha256=part_hashes(model.config))
    return _modules(model, origin), _settings(model.config)


def _modules(model: SplareModel, origin: Origin) -> list[torch.nn.Module]:
    config = model.config
    pooling = SplarePooling(
        model.head,
        top_k={side: config.side(side).top_k for side in SIDES},
        max_token_norm_ratio=config.max_token_norm_ratio,
        norm_power=config.norm_power,
        own=origin.base is None,
    )
    return [SplareTransformer(model.backbone, origin), pooling]


def _settings(config: SplareConfig) -> dict[str, Any]:
    return {"prompts": {side: config.side(side).prompt for side in SIDES}, "similarity_fn_name": "dot"}
