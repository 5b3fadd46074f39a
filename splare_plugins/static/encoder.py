"""The query side of a model as a look-up: tokenise, pool, keep the largest."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from scipy.sparse import csr_array

from splare_plugins.config import Side, SplareConfig, TopK, check_top_k
from splare_plugins.errors import InputError
from splare_plugins.impacts import Quantizer
from splare_plugins.machine import Progress
from splare_plugins.static.names import LatentNames
from splare_plugins.static.pieces import PieceTokenizer, tokens_of
from splare_plugins.static.table import TokenTable


class StaticQueryEncoder:
    """Texts of queries to latent weights, without torch.

    It takes the place of the model's own encoder where queries are encoded, for the indexes of that model.

    Args:
        config: of the model that it belongs to.
        table: of the tokenizer's pieces.
        tokenizer: the model's, with words of its own if the table has some.
        folder: where it was loaded from.
        labels: table of what the model's latents are called.

    Attributes:
        sides: what it encodes: queries alone.
        device_type: where it runs.
        pass_tokens: that are handed to it at once where many texts wait.
        config: as given; what it encodes fits the indexes of this model.
        table: as given.
        tokenizer: as given.
        folder: as given.
        head: names the latents, as a model's does.

    Raises:
        InputError: if the table has another number of latents than the model.
    """

    sides: ClassVar[tuple[Side, ...]] = ("query",)
    device_type = "cpu"
    pass_tokens = 1 << 16

    def __init__(
        self,
        config: SplareConfig,
        table: TokenTable,
        tokenizer: PieceTokenizer,
        *,
        folder: Path | None = None,
        labels: Path | None = None,
    ) -> None:
        if table.width != config.width:
            raise InputError(
                f"a table of {table.width} latents cannot encode queries of {config.name}, which has {config.width}"
            )
        self.config = config
        self.table = table
        self.tokenizer = tokenizer
        self.folder = folder
        self.head = LatentNames(config, labels)

    @cached_property
    def fingerprint(self) -> str:
        """Short hash of everything that changes its vectors."""
        digest = hashlib.sha256(self.config.fingerprint().encode())
        for part in (self.table.starts, self.table.latents, self.table.weights, np.float64(self.table.unit)):
            digest.update(part.tobytes())
        digest.update(self.tokenizer.content)
        return digest.hexdigest()[:16]

    @property
    def quantizer(self) -> Quantizer:
        """The model's quantiser."""
        return Quantizer.from_config(self.config)

    def encode_queries(
        self, texts: Sequence[str], *, top_k: TopK = "model", on_progress: Progress | None = None
    ) -> csr_array:
        """Latent weights of queries; see :meth:`encode`."""
        return self.encode(texts, "query", top_k=top_k, on_progress=on_progress)

    def encode(
        self,
        texts: Sequence[str],
        side: Side,
        *,
        top_k: TopK = "model",
        on_progress: Progress | None = None,
        on_truncated: Callable[[int], None] | None = None,
    ) -> csr_array:
        """Latent weights of queries.

        Args:
            texts: queries; an empty text gives an empty row.
            side: ``"query"``; there is no other.
            top_k: latents kept of a query; ``"model"`` is the model's own number, ``None`` keeps all.
            on_progress: called with the number of texts just encoded.
            on_truncated: called once with the number of texts that were cut to the model's length.

        Returns:
            float32, shape ``(len(texts), width)``, sorted column ids, no explicit zeros.

        Raises:
            InputError: for documents, a string instead of a list, or a text that is not valid Unicode.
        """
        if side != "query":
            raise InputError(f"the static encoder of {self.config.name} is for queries; documents take the full one")
        if isinstance(texts, str):
            raise InputError("give a list of texts, not one string")
        check_top_k(top_k)
        kept = self.config.query.top_k if top_k == "model" else top_k
        tokenised = tokens_of(self.tokenizer, texts, self.config.query.max_length)
        rows = []
        for tokens in tokenised:
            rows.append(self._row(tokens.ids[tokens.keep], kept))
            if on_progress is not None:
                on_progress(1)
        if on_truncated is not None:
            on_truncated(sum(tokens.truncated for tokens in tokenised))
        bounds = np.cumsum([0, *(len(latents) for latents, _ in rows)])
        latents = np.concatenate([latents for latents, _ in rows]) if rows else np.empty(0, np.int64)
        weights = np.concatenate([weights for _, weights in rows]) if rows else np.empty(0, np.float32)
        return csr_array((weights, latents, bounds), shape=(len(texts), self.config.width))

    def token_weights(self, text: str, side: Side, latents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As :meth:`splare_plugins.model.encoder.Encoder.token_weights`; a document's words are read as a query's."""
        (tokens,) = tokens_of(self.tokenizer, [text], self.config.query.max_length)
        known = tokens.keep & (tokens.ids < len(self.table))
        starts, weights = self.table.starts, np.zeros((int(known.sum()), self.table.width), np.float32)
        for row, token in enumerate(tokens.ids[known].tolist()):
            held = slice(starts[token], starts[token + 1])
            weights[row, self.table.latents[held]] = self.table.weights[held] * np.float32(self.table.unit)
        return weights[:, latents], tokens.spans[known]

    def _row(self, tokens: np.ndarray, kept: int | None) -> tuple[np.ndarray, np.ndarray]:
        """The largest latents of a text, of equal ones the lower, and their weights."""
        latents, pooled = self.table.pool(tokens)
        weights = pooled.astype(np.float32) * np.float32(self.table.unit)
        if len(weights) and self.config.norm_power:
            weights /= np.float32(np.linalg.norm(weights) ** self.config.norm_power)
        if kept is not None and len(latents) > kept:
            largest = np.sort(np.argsort(-weights, kind="stable")[:kept])
            latents, weights = latents[largest], weights[largest]
        return latents, weights
