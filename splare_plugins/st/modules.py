"""The two modules of a :class:`SplareEncoder`: our backbone and our head in the form that sentence-transformers calls.

Cutting, bidirectional attention, prompts, pooling and activation are those of the rest of the package; nothing of them
is written again here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from sentence_transformers.base.modules import InputModule, Module
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from splare_plugins.backbone import Backbone, pack_states, padded_batch
from splare_plugins.backbone.adapter import save_adapter
from splare_plugins.config import SIDES, SideConfig, SplareConfig
from splare_plugins.errors import InputError
from splare_plugins.heads import Head, load_head
from splare_plugins.machine.files import read_json, write_json
from splare_plugins.model.batching import keep_top_k
from splare_plugins.model.find import locate_model
from splare_plugins.model.forward import latent_weights
from splare_plugins.st.origin import CPU, Origin, Placement


class SplareTransformer(InputModule):
    """Texts to token states, and which tokens take part in the pool.

    Args:
        backbone: cut, bidirectional, with or without a peft adapter attached.
        origin: the config of the encoder and where its parts come from.

    Attributes:
        embed: save the backbone's weights too, where an adapter alone would do.
    """

    def __init__(self, backbone: Backbone, origin: Origin) -> None:
        super().__init__()
        self.backbone = backbone
        self.origin = origin
        self.embed = False

    @property
    def config(self) -> SplareConfig:
        """The config of the encoder."""
        return self.origin.config

    @property
    def tokenizer(self) -> PreTrainedTokenizerFast:  # type: ignore[override]
        """The backbone's tokenizer."""
        return self.backbone.tokenizer

    @property
    def processor(self) -> PreTrainedTokenizerFast:
        """The same, by the trainer's name for it."""
        return self.backbone.tokenizer

    @property
    def max_seq_length(self) -> int:
        """Tokens kept of a document; setting it sets that of queries too."""
        return self.config.document.max_length

    @max_seq_length.setter
    def max_seq_length(self, value: int) -> None:
        query, document = (dataclasses.replace(self.side(side), max_length=value) for side in SIDES)
        config = dataclasses.replace(self.config, query=query, document=document)
        self.origin = dataclasses.replace(self.origin, config=config)

    def side(self, task: str | None) -> SideConfig:
        """What holds for a task; texts without one are documents."""
        return self.config.query if task == "query" else self.config.document

    def preprocess(
        self,
        inputs: Sequence[Any],
        prompt: str | None = None,
        task: str | None = None,
        max_length: int | None = None,
        **options: Any,
    ) -> dict[str, Tensor]:
        """Tokenise texts.

        Args:
            inputs: texts.
            prompt: put before each text, encoded, and not pooled.
            task: ``"query"`` or ``"document"``: whose length limit holds.
            max_length: another limit.
            **options: what other modules of sentence-transformers take; refused here.

        Returns:
            ``input_ids``, ``attention_mask`` and ``keep``, shape ``[texts, tokens]``, padded on the right; ``keep``
            marks the tokens that are pooled.

        Raises:
            InputError: for inputs that are not texts, and options that SPLARE does not have.
        """
        if unknown := [name for name, value in options.items() if value]:
            raise InputError(f"SplareEncoder does not take {unknown[0]!r}; set max_seq_length or give max_active_dims")
        if any(not isinstance(text, str) for text in inputs):
            raise InputError("SplareEncoder encodes texts; give a string or a list of strings")
        tokenised = self.backbone.tokenize(inputs, prompt or "", max_length or self.side(task).max_length)
        ids, mask, keep = map(torch.from_numpy, padded_batch(self.config, tokenised, self.backbone.pad_id))
        return {"input_ids": ids, "attention_mask": mask.long(), "keep": keep.long()}

    def forward(self, features: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Add ``token_embeddings``, shape ``[texts, tokens, d]``."""
        ids, mask = features["input_ids"], features["attention_mask"].bool()
        features["token_embeddings"] = self.backbone.padded_states(ids, mask)
        return features

    def save(self, output_path: str, *args: Any, safe_serialization: bool = True, **kwargs: Any) -> None:
        """Write the adapter, where there is one, else a backbone that can be trained; and the origin."""
        folder, config = Path(output_path), self.config
        own = set()
        if self.backbone.adapted:
            sha256 = save_adapter(self.backbone, folder / "adapter", self.origin.base or config.name)
            config = dataclasses.replace(config, adapter="adapter", adapter_sha256=sha256)
            own.add("adapter")
        trained = not self.backbone.adapted and any(weight.requires_grad for weight in self.backbone.parameters())
        if trained or self.embed or "backbone" in self.origin.own or self.origin.base is None:
            sha256 = self.backbone.save(folder / "backbone")
            config = dataclasses.replace(config, backbone="backbone", backbone_sha256=sha256, backbone_revision=None)
            if not self.backbone.adapted:  # one that the base had is merged into the weights by now
                config = dataclasses.replace(config, adapter=None, adapter_sha256=None)
            own.add("backbone")
        dtype = str(self.backbone.model.dtype).removeprefix("torch.")
        dataclasses.replace(self.origin, config=config, own=tuple(sorted(own)), dtype=dtype).save(folder)

    @classmethod
    def load(  # noqa: D102
        cls,
        model_name_or_path: str,
        revision: str | None = None,
        local_files_only: bool = False,
        *,
        base: str | None = None,
        where: Placement = CPU,
        **_: Any,
    ) -> Self:
        folder = locate_model(model_name_or_path, revision=revision, local_files_only=local_files_only)
        origin = Origin.load(folder).at(base)
        return cls(origin.backbone(folder, where), origin)


class SplarePooling(Module):
    """Token states to latent weights, and the top-k of each side.

    Args:
        head: its weights stay as they are unless their ``requires_grad`` is set.
        top_k: latents kept of a text by task; a task without a number keeps all.
        max_token_norm_ratio: as in :class:`splare_plugins.SplareConfig`.
        norm_power: likewise.
        own: the head is not that of the model the encoder was made from, so it is always saved.

    Attributes:
        embed: save the head too, where its place and hash would do.
    """

    config_keys: ClassVar[list[str]] = ["top_k", "max_token_norm_ratio", "norm_power"]
    forward_kwargs: ClassVar[set[str]] = {"task", "max_active_dims"}

    def __init__(
        self,
        head: Head,
        *,
        top_k: dict[str, int | None],
        max_token_norm_ratio: float | None = None,
        norm_power: float = 0.0,
        own: bool = False,
    ) -> None:
        super().__init__()
        self.head = head
        self.top_k = dict(top_k)
        self.max_token_norm_ratio = max_token_norm_ratio
        self.norm_power = norm_power
        self.own = own
        self.embed = False

    def forward(
        self, features: dict[str, Any], task: str | None = None, max_active_dims: int | None = None
    ) -> dict[str, Any]:
        """Add ``sentence_embedding``, float32, shape ``[texts, width]``.

        Args:
            features: what :class:`SplareTransformer` made.
            task: ``"query"`` or ``"document"`` keeps that side's top-k; without a task, as in training, all are kept.
            max_active_dims: another number.
        """
        mask, keep = features["attention_mask"].bool(), features["keep"].bool()
        # A head works in one precision, whatever autocast makes of the layers before it.
        states, offsets = pack_states(features["token_embeddings"].to(self.head.W.dtype), mask)
        with torch.autocast(states.device.type, enabled=False):
            weights = latent_weights(
                self.head,
                states,
                offsets,
                keep[mask],
                max_token_norm_ratio=self.max_token_norm_ratio,
                norm_power=self.norm_power,
            )
        limit = self.top_k.get(task) if max_active_dims is None and task is not None else max_active_dims
        features["sentence_embedding"] = weights if limit is None else keep_top_k(weights, limit)
        return features

    def get_embedding_dimension(self) -> int:
        """Number of latents."""
        return self.head.width

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Move to a device; the dtypes stay, since sentence-transformers would round biases and thresholds."""
        device = torch._C._nn._parse_to(*args, **kwargs)[0]
        return self if device is None else super().to(device)

    def save(self, output_path: str, *args: Any, safe_serialization: bool = True, **kwargs: Any) -> None:
        """Write the settings, and the head where it can be trained; else it is found by place and hash."""
        trained = any(weight.requires_grad for weight in self.head.parameters())
        own = trained or self.embed or self.own
        settings = {**self.get_config_dict(), "sha256": self.head.save(Path(output_path)) if own else None}
        write_json(Path(output_path) / self.config_file_name, settings)

    @classmethod
    def load(  # noqa: D102
        cls,
        model_name_or_path: str,
        subfolder: str = "",
        revision: str | None = None,
        local_files_only: bool = False,
        *,
        base: str | None = None,
        where: Placement = CPU,
        **_: Any,
    ) -> Self:
        folder = locate_model(model_name_or_path, revision=revision, local_files_only=local_files_only)
        origin = Origin.load(folder).at(base)
        settings = read_json(folder / subfolder / cls.config_file_name)
        sha256 = settings.pop("sha256")
        if sha256 is None:
            head = origin.base_head(where)
        else:
            head = load_head(origin.config.head_kind, folder / subfolder, sha256=sha256)
        return cls(head.place(torch.device(where.device), where.dtype), own=sha256 is not None, **settings)
