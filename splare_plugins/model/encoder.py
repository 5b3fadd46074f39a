"""What every encoder does alike, whatever computes its weights: order, batches, top-k, streams, calibration."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, TypeVar

import numpy as np
from scipy.sparse import csr_array

from splare_plugins.backbone.finite import require_finite
from splare_plugins.config import SIDES, Side, SplareConfig, TopK
from splare_plugins.errors import InputError
from splare_plugins.impacts import Quantizer
from splare_plugins.machine import Progress
from splare_plugins.machine.overlap import overlapped
from splare_plugins.model.batching import length_batches
from splare_plugins.model.running import run_batches

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from splare_plugins.model.explanation import Explanation
    from splare_plugins.static import StaticQueryEncoder

Item = TypeVar("Item")

# A batch whose activations stay in the processor's cache is fastest on a CPU; a GPU wants to be filled.
TOKENS_PER_BATCH = {"cpu": 1536, "mps": 8192, "cuda": 32768}
# Texts sorted by length together. On a GPU, where batches are large, 512 texts are few: their padding is 13 % with
# lengths spread evenly over 64 to 512 tokens, that of 4,096 is 2.5 %.
_WINDOWS = {"cpu": 512, "mps": 2048, "cuda": 4096}
# Where the processor tokenises the next window while another device computes this one.
_TOKENISED_AHEAD = ("cuda", "mps")


class EncodedWindow(NamedTuple):
    """A stretch of a stream, in input order."""

    items: list[Any]
    weights: csr_array
    """float32, shape ``(len(items), width)``."""
    truncated: np.ndarray
    """Which texts were longer than the model's limit, bool."""


class TokenisedText(Protocol):
    """What an encoder's tokeniser gives for a text."""

    @property
    def ids(self) -> Sequence[int] | np.ndarray:
        """Token ids; their number decides which texts share a batch."""

    @property
    def truncated(self) -> bool:
        """Whether the text was longer than the limit."""


class LatentNames(Protocol):
    """What an explanation asks of an encoder's head."""

    def name(self, latent: int) -> str:
        """What a person may call the latent; its pseudo-term where nothing better is known."""

    def token_weights(self, states: Tensor, latents: Tensor) -> Tensor:
        """What each token alone would give of ``latents``; see ``Head.token_weights``."""


class Encoder(ABC):
    """Texts in, sparse latent weights out.

    Attributes:
        sides: what it encodes: queries and documents.
        config: what defines the encoder.
        folder: where it was loaded from; ``None`` for one made in memory.
        head: names the latents.
        static: encodes the queries in its place, if there is one.
    """

    sides: ClassVar[tuple[Side, ...]] = SIDES
    config: SplareConfig
    folder: Path | None
    head: LatentNames
    static: StaticQueryEncoder | None = None
    # Whether tokenising may run in a thread of its own while weights are computed.
    _tokenises_apart = False

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where the encoder runs."""

    @property
    def device_type(self) -> str:
        """``"cpu"``, ``"cuda"`` or ``"mps"``: what kind of device that is."""
        return self.device.type

    @property
    def dtype(self) -> torch.dtype | None:
        """What the encoder's large matrices are in; ``None`` where that is not known."""
        return None

    @property
    def precision(self) -> str | None:
        """That dtype's name, such as ``"float32"``."""
        return None if self.dtype is None else str(self.dtype).removeprefix("torch.")

    @property
    def packed(self) -> bool:
        """Whether texts are encoded without padding."""
        return False

    @property
    def pass_tokens(self) -> int:
        """Tokens of one forward pass that suit the device."""
        return default_tokens(self.device_type)

    @abstractmethod
    def save_pretrained(self, folder: str | Path) -> None:
        """Write a folder that ``SplareModel.from_pretrained`` reads back to the same vectors."""

    @abstractmethod
    def pooled_tokens(self, text: str, side: Side) -> tuple[Tensor, np.ndarray]:
        """The tokens of one text that take part in the pool.

        Returns:
            states as ``head.token_weights`` takes them, shape ``[tokens, d]``; and each token's first and last + 1
            character in ``text``, shape ``[tokens, 2]``.
        """

    def token_weights(self, text: str, side: Side, latents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What each token of a text alone gives of some latents.

        Args:
            text: what is read.
            side: as what.
            latents: ids, shape ``[n]``.

        Returns:
            weights, float32, shape ``[tokens, n]``; and each token's first and last + 1 character in ``text``, shape
            ``[tokens, 2]``.
        """
        if side == "query" and self.static is not None:
            return self.static.token_weights(text, side, latents)
        states, spans = self.pooled_tokens(text, side)
        if not len(states):
            return np.zeros((0, len(latents)), np.float32), spans
        import torch

        with torch.inference_mode():
            weights = self.head.token_weights(states, torch.from_numpy(latents).long().to(states.device))
        return weights.float().cpu().numpy(), spans

    @abstractmethod
    def _tokenize(self, texts: Sequence[str], side: Side) -> Sequence[TokenisedText]: ...

    @abstractmethod
    def _weights(self, batch: Sequence[Any], side: Side) -> Tensor | np.ndarray:
        """Weights of tokenised texts, without gradients, shape ``[texts, width]``."""

    @property
    def quantizer(self) -> Quantizer:
        """The model's quantiser; raises ``InputError`` if it was never calibrated."""
        return Quantizer.from_config(self.config)

    def explain(self, query: str, document: str, **options: Any) -> Explanation:
        """Why a document matches a query; a notebook shows it as a page with both texts.

        Args:
            query: the query's text.
            document: the document's text, as it is indexed (title and text joined by a blank).
            **options: of :func:`splare_plugins.model.explanation.explain`.
        """
        from splare_plugins.model.explanation import explain

        return explain(self, query, document, **options)

    def calibrate(self, queries: Sequence[str], documents: Sequence[str], percentile: float = 99.9) -> None:
        """Set the quantiser's scales from sample texts; :meth:`save_pretrained` keeps them.

        Args:
            queries: sample queries.
            documents: sample documents.
            percentile: of the weights, mapped to the largest impact.
        """
        # The full encoder's queries, whatever encodes them otherwise: a table belongs to a model that is calibrated.
        weights, _ = self._encode(queries, "query", "model", None, None)
        quantizer = Quantizer.calibrate(weights, self.encode_documents(documents), percentile)
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
        """Latent weights of queries; see :meth:`encode`."""
        return self.encode(texts, "query", top_k=top_k, tokens_per_batch=tokens_per_batch, on_progress=on_progress)

    def encode_documents(
        self,
        texts: Sequence[str],
        *,
        top_k: TopK = "model",
        tokens_per_batch: int | None = None,
        on_progress: Progress | None = None,
    ) -> csr_array:
        """Latent weights of documents; see :meth:`encode`."""
        return self.encode(texts, "document", top_k=top_k, tokens_per_batch=tokens_per_batch, on_progress=on_progress)

    def encode(
        self,
        texts: Sequence[str],
        side: Side,
        *,
        top_k: TopK = "model",
        tokens_per_batch: int | None = None,
        on_progress: Progress | None = None,
        on_truncated: Progress | None = None,
    ) -> csr_array:
        """Latent weights of texts.

        Args:
            texts: queries or documents; an empty text gives an empty row.
            side: which of the two they are: prompt, length limit and top-k differ.
            top_k: latents kept per text; ``"model"`` is the model's own number, ``None`` keeps all.
            tokens_per_batch: tokens of one forward pass, those of padding included; default by device.
            on_progress: called with the number of texts just encoded.
            on_truncated: called once with the number of texts that were cut to the model's length.

        Returns:
            float32, shape ``(len(texts), width)``, sorted column ids, no explicit zeros.

        Raises:
            InputError: for a string instead of a list, a top-k below 1, or a text that is not valid Unicode.
            SplareError: for a text whose weights are not finite in the model's dtype.
        """
        if side == "query" and self.static is not None:
            return self.static.encode(texts, side, top_k=top_k, on_progress=on_progress, on_truncated=on_truncated)
        weights, truncated = self._encode(texts, side, top_k, tokens_per_batch, on_progress)
        if on_truncated is not None:
            on_truncated(int(truncated.sum()))
        return weights

    def stream_documents(
        self,
        items: Iterable[Item],
        *,
        text: Callable[[Item], str] = str,
        top_k: TopK = "model",
        window: int | None = None,
        tokens_per_batch: int | None = None,
        on_progress: Progress | None = None,
    ) -> Iterator[EncodedWindow]:
        """Encode a corpus of any size in bounded memory, keeping its order.

        Args:
            items: documents of any type.
            text: gives an item's text.
            top_k: as in :meth:`encode`.
            window: items read ahead, sorted by length and encoded together; default by device. Where a GPU encodes
                them, the next ones are read and tokenised meanwhile, in another thread.
            tokens_per_batch: as in :meth:`encode`.
            on_progress: as in :meth:`encode`; called many times within a window.

        Yields:
            One window at a time.
        """
        stream = iter(items)
        windows = iter(lambda: list(islice(stream, window or self.window)), [])
        yield from self.stream_windows(
            windows, text=text, top_k=top_k, tokens_per_batch=tokens_per_batch, on_progress=on_progress
        )

    def stream_windows(
        self,
        windows: Iterable[list[Item]],
        *,
        text: Callable[[Item], str] = str,
        top_k: TopK = "model",
        tokens_per_batch: int | None = None,
        on_progress: Progress | None = None,
    ) -> Iterator[EncodedWindow]:
        """Likewise, of a corpus that comes in windows already; the other arguments are the same."""
        tokenised = self._tokenised_windows(windows, text)
        if self.runs_ahead:
            tokenised = overlapped(tokenised, ahead=1)
        with closing(tokenised):
            for items, texts, tokens in tokenised:
                weights = self._encode_tokenised(texts, tokens, "document", top_k, tokens_per_batch, on_progress)
                yield EncodedWindow(items, weights, _truncated(tokens))

    @property
    def window(self) -> int:
        """Documents that are sorted by length together, where nothing else is said."""
        return _WINDOWS.get(self.device_type, _WINDOWS["cpu"])

    @property
    def runs_ahead(self) -> bool:
        """Whether a GPU computes, so that the processor reads, tokenises and writes meanwhile."""
        return self._tokenises_apart and self.device_type in _TOKENISED_AHEAD

    def _tokenised_windows(
        self, windows: Iterable[list[Item]], text: Callable[[Item], str]
    ) -> Generator[tuple[list[Item], list[str], Sequence[TokenisedText]]]:
        for items in windows:
            texts = [text(item) for item in items]
            yield items, texts, self._tokenize(texts, "document")

    def _encode(
        self,
        texts: Sequence[str],
        side: Side,
        top_k: TopK,
        tokens_per_batch: int | None,
        on_progress: Progress | None,
    ) -> tuple[csr_array, np.ndarray]:
        if isinstance(texts, str):
            raise InputError("give a list of texts, not one string")
        tokenised = self._tokenize(texts, side)
        weights = self._encode_tokenised(texts, tokenised, side, top_k, tokens_per_batch, on_progress)
        return weights, _truncated(tokenised)

    def _encode_tokenised(
        self,
        texts: Sequence[str],
        tokenised: Sequence[TokenisedText],
        side: Side,
        top_k: TopK,
        tokens_per_batch: int | None,
        on_progress: Progress | None,
    ) -> csr_array:
        top_k = self.config.side(side).top_k if top_k == "model" else top_k
        if top_k is not None and top_k < 1:
            raise InputError(f"top_k must be at least 1 or None, not {top_k}")
        lengths = [len(tokens.ids) for tokens in tokenised]
        budget = tokens_per_batch or default_tokens(self.device_type)
        return run_batches(
            length_batches(lengths, budget, packed=self.packed),
            lambda batch: self._weights([tokenised[number] for number in batch], side),
            lambda finite, batch: require_finite(finite, batch, texts.__getitem__, self.precision),
            top_k=top_k,
            width=self.config.width,
            on_progress=on_progress,
        )


def _truncated(tokenised: Sequence[TokenisedText]) -> np.ndarray:
    return np.array([tokens.truncated for tokens in tokenised], dtype=bool)


def default_tokens(device_type: str) -> int:
    """Padded tokens of one forward pass that suit a device of that type."""
    return TOKENS_PER_BATCH.get(device_type, TOKENS_PER_BATCH["cpu"])
