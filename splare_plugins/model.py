"""The encoder: text in, sparse latent weights out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar, Unpack

import numpy as np
import torch
from scipy.sparse import csr_array, vstack
from torch import Tensor

from splare_plugins.backbone import Backbone, Tokens
from splare_plugins.batching import length_batches, top_k_rows
from splare_plugins.builtin import BUILTIN_MODEL
from splare_plugins.card import CardOptions
from splare_plugins.config import SideConfig, SplareConfig
from splare_plugins.errors import InputError
from splare_plugins.heads import Head
from splare_plugins.impacts import Quantizer
from splare_plugins.loading import load_parts
from splare_plugins.pooling.norms import drop_outliers, scale_by_norm
from splare_plugins.saving import save_parts, upload
from splare_plugins.st.folder import find_encoder

Item = TypeVar("Item")
TopK = int | None | Literal["model"]
Progress = Callable[[int], None]

# A batch whose activations stay in the processor's cache is fastest on a CPU; a GPU wants to be filled.
TOKENS_PER_BATCH = {"cpu": 1536, "mps": 8192, "cuda": 32768}


class EncodedWindow(NamedTuple):
    """A stretch of a stream, in input order."""

    items: list[Any]
    weights: csr_array
    """float32, shape ``(len(items), width)``."""
    truncated: np.ndarray
    """Which texts were longer than the model's limit, bool."""


class SplareModel:
    """A SPLARE encoder.

    Args:
        config: what defines it.
        backbone: gives one state per token.
        head: turns states into latent weights.
        folder: the model folder that this was loaded from.
    """

    def __init__(self, config: SplareConfig, backbone: Backbone, head: Head, *, folder: Path | None = None) -> None:
        if head.width != config.width:
            raise InputError(f"{config.name}: the config says {config.width} latents, its head has {head.width}")
        self.config = config
        self.backbone = backbone
        self.head = head
        self.folder = folder

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path = BUILTIN_MODEL,
        *,
        revision: str | None = None,
        device: str = "auto",
        dtype: str | torch.dtype = "auto",
        attention: str = "auto",
        quantization: str | None = "model",
        device_map: str | dict[str, int | str] | None = None,
        query: dict[str, Any] | None = None,
        document: dict[str, Any] | None = None,
        local_files_only: bool = False,
        verify: bool = True,
    ) -> SplareModel:
        """Load a model.

        Args:
            name_or_path: the built-in model's name, a folder, or a hub id; a SPLADE model (a transformers model with
                its language-model head, or a sparse encoder of sentence-transformers) is taken apart in memory.
                ``st:`` and a folder or hub id is any sparse encoder of sentence-transformers, run by that library: see
                :class:`splare_plugins.st.StModel`.
            revision: branch, tag or commit of a hub model.
            device: ``"auto"`` takes cuda, else mps, else cpu.
            dtype: ``"auto"`` is bfloat16 on cuda and float32 elsewhere.
            attention: ``"eager"``, ``"sdpa"``, ``"flex_attention"`` or ``"flash_attention_2"``; ``"auto"`` takes what
                suits the backbone.
            quantization: ``"8bit"`` or ``"4bit"`` weights of the backbone through bitsandbytes, ``None`` for none,
                ``"model"`` for what the config says. It changes vectors, so it is part of the fingerprint.
            device_map: spread a backbone that does not fit one device, with accelerate: ``"auto"``, or device by
                module; instead of ``device``.
            query: settings of queries other than the model's own, such as ``{"max_length": 64}`` or a ``prompt``; they
                become part of the config, and these two of the fingerprint.
            document: the same of documents.
            local_files_only: never ask a hub.
            verify: compare the hash of a backbone on disk with the config's, which reads its files once more; head,
                adapter and config are always compared.

        Raises:
            InputError: if there is no such model, its parts do not fit, or they are not those that it names.
            MissingPartError: if the built-in model's wheel is not installed.
        """
        if find_encoder(name_or_path, revision=revision, local_files_only=local_files_only) is not None:
            from splare_plugins.st import StModel

            given = {
                "attention": attention != "auto",
                "quantization": quantization not in ("model", None),
                "device_map": device_map is not None,
                "query": bool(query),
                "document": bool(document),
            }
            if refused := [option for option, value in given.items() if value]:
                raise InputError(f"a model of sentence-transformers takes no {refused[0]!r} here; leave it away")
            return StModel.open(
                name_or_path, revision=revision, device=device, dtype=dtype, local_files_only=local_files_only
            )
        parts = load_parts(
            name_or_path,
            revision=revision,
            device=device,
            dtype=dtype,
            attention=attention,
            quantization=quantization,
            device_map=device_map,
            query=query,
            document=document,
            local_files_only=local_files_only,
            verify=verify,
        )
        return cls(parts.config, parts.backbone, parts.head, folder=parts.folder)

    def save_pretrained(self, folder: str | Path, **card: Unpack[CardOptions]) -> None:
        """Write a folder that :meth:`from_pretrained` reads back to the same vectors, with a model card.

        A model that was loaded is copied as it was loaded, with its present config (a hub backbone is named,
        not copied); to save changed weights, make a new ``SplareModel(config, backbone, head)`` of them.

        Args:
            folder: where to write; a README.md of somebody's own is kept as it is.
            **card: ``figures``, ``licence`` and ``languages``, see :class:`splare_plugins.card.CardOptions`.
        """
        parts = self.config, self.backbone, self.head
        self.config = save_parts(*parts, Path(folder), loaded_from=self.folder, **card)

    def push_to_hub(
        self, repo_id: str, *, private: bool = False, token: str | None = None, **card: Unpack[CardOptions]
    ) -> str:
        """Upload what :meth:`save_pretrained` writes; returns the commit's address."""
        parts = self.config, self.backbone, self.head
        return upload(*parts, repo_id, loaded_from=self.folder, private=private, token=token, **card)

    @property
    def quantizer(self) -> Quantizer:
        """The model's quantiser; raises ``InputError`` if it was never calibrated."""
        return Quantizer.from_config(self.config)

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        return self.backbone.device

    def calibrate(self, queries: Sequence[str], documents: Sequence[str], percentile: float = 99.9) -> None:
        """Set the quantiser's scales from sample texts; :meth:`save_pretrained` keeps them.

        Args:
            queries: sample queries.
            documents: sample documents.
            percentile: of the weights, mapped to the largest impact.
        """
        quantizer = Quantizer.calibrate(self.encode_queries(queries), self.encode_documents(documents), percentile)
        self.config = dataclasses.replace(
            self.config,
            query=dataclasses.replace(self.config.query, scale=quantizer.query_scale),
            document=dataclasses.replace(self.config.document, scale=quantizer.document_scale),
        )

    def encode_queries(
        self,
        texts: Sequence[str],
        *,
        top_k: TopK = "model",
        tokens_per_batch: int | None = None,
        on_progress: Progress | None = None,
    ) -> csr_array:
        """Latent weights of queries.

        Args:
            texts: the queries; an empty text gives an empty row.
            top_k: latents kept per text; ``"model"`` is the model's own number, ``None`` keeps all.
            tokens_per_batch: padded tokens of one forward pass; default by device.
            on_progress: called with the number of texts just encoded.

        Returns:
            float32, shape ``(len(texts), width)``, sorted column ids, no explicit zeros.
        """
        return self._encode(texts, self.config.query, top_k, tokens_per_batch, on_progress)[0]

    def encode_documents(
        self,
        texts: Sequence[str],
        *,
        top_k: TopK = "model",
        tokens_per_batch: int | None = None,
        on_progress: Progress | None = None,
    ) -> csr_array:
        """Latent weights of documents; like :meth:`encode_queries`."""
        return self._encode(texts, self.config.document, top_k, tokens_per_batch, on_progress)[0]

    def stream_documents(
        self,
        items: Iterable[Item],
        *,
        text: Callable[[Item], str] = str,
        top_k: TopK = "model",
        window: int = 512,
        tokens_per_batch: int | None = None,
        on_progress: Progress | None = None,
    ) -> Iterator[EncodedWindow]:
        """Encode a corpus of any size in bounded memory, keeping its order.

        Args:
            items: documents of any type.
            text: gives an item's text.
            top_k: as in :meth:`encode_queries`.
            window: items held, sorted by length and encoded together.
            tokens_per_batch: as in :meth:`encode_queries`.
            on_progress: as in :meth:`encode_queries`; called many times within a window.

        Yields:
            One window at a time.
        """
        stream = iter(items)
        while held := list(islice(stream, window)):
            weights, truncated = self._encode(
                [text(item) for item in held], self.config.document, top_k, tokens_per_batch, on_progress
            )
            yield EncodedWindow(held, weights, truncated)

    @torch.inference_mode()
    def _encode(
        self,
        texts: Sequence[str],
        side: SideConfig,
        top_k: TopK,
        tokens_per_batch: int | None,
        on_progress: Progress | None,
    ) -> tuple[csr_array, np.ndarray]:
        if isinstance(texts, str):
            raise InputError("give a list of texts, not one string")
        top_k = side.top_k if top_k == "model" else top_k
        if top_k is not None and top_k < 1:
            raise InputError(f"top_k must be at least 1 or None, not {top_k}")
        tokenised = self._tokenize(texts, side)
        truncated = np.array([tokens.truncated for tokens in tokenised], dtype=bool)
        budget = tokens_per_batch or TOKENS_PER_BATCH.get(self.device.type, TOKENS_PER_BATCH["cpu"])
        # The first part has the right width and no rows, so that no texts need no case of their own.
        rows: list[csr_array] = [csr_array(np.empty((0, self.config.width), dtype=np.float32))]
        order: list[int] = []
        for batch in length_batches([len(tokens.ids) for tokens in tokenised], budget):
            weights = self._weights([tokenised[number] for number in batch], side)
            rows.append(top_k_rows(weights, top_k))
            order.extend(batch)
            if on_progress is not None:
                on_progress(len(batch))
        encoded: csr_array = vstack(rows, format="csr")
        return encoded[np.argsort(order)], truncated

    @torch.inference_mode()
    def pooled_tokens(self, text: str, side: SideConfig) -> tuple[Tensor, np.ndarray]:
        """The tokens of one text that take part in the pool.

        Args:
            text: a query or a document.
            side: ``config.query`` or ``config.document``.

        Returns:
            states, shape ``[tokens, d]``; and each token's first and last + 1 character in ``text``, shape
            ``[tokens, 2]``.
        """
        (tokens,) = self.backbone.tokenize([text], side.prompt, side.max_length)
        states, _, keep = self._states([tokens])
        return states[keep], tokens.spans[keep.cpu().numpy()]

    def _tokenize(self, texts: Sequence[str], side: SideConfig) -> list[Tokens]:
        return self.backbone.tokenize(texts, side.prompt, side.max_length)

    def _weights(self, batch: Sequence[Tokens], side: SideConfig) -> Tensor:
        return scale_by_norm(self.head(*self._states(batch)), self.config.norm_power)

    def _states(self, batch: Sequence[Tokens]) -> tuple[Tensor, Tensor, Tensor]:
        states, offsets = self.backbone(batch)
        keep = torch.from_numpy(np.concatenate([pool_mask(self.config, tokens) for tokens in batch])).to(states.device)
        if self.config.max_token_norm_ratio is not None:
            keep = drop_outliers(states, offsets, keep, self.config.max_token_norm_ratio)
        return states, offsets, keep


def pool_mask(config: SplareConfig, tokens: Tokens) -> np.ndarray:
    """Which tokens of a text take part in the pool, before outliers are dropped; bool."""
    if config.pool_all_tokens and tokens.keep.any():
        return np.ones_like(tokens.keep)
    return tokens.keep
