"""The table: for each token of a vocabulary a few latents with weights of eight bits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from splare_plugins.errors import InputError

_BITS = 8
LARGEST = (1 << _BITS) - 1
_MOST_LATENTS_OF_16_BITS = 1 << 16


@dataclass(frozen=True)
class TokenTable:
    """Latents of tokens, as rows of a sparse matrix whose values share one scale.

    A text's weight of a latent is the largest that one of its tokens has. The maximum commutes with ``log(1 + x)``
    and with rounding, so tokens are stored as they are pooled.

    Attributes:
        starts: where the latents of each token begin, and the end of the last; int64, shape ``[tokens + 1]``.
        latents: ids, ascending within a token; uint16 for up to 65,536 latents, else int32.
        weights: uint8, from 1.
        unit: weight of a 1.
        width: number of latents.

    Raises:
        InputError: if the parts do not fit one another.
    """

    starts: np.ndarray
    latents: np.ndarray
    weights: np.ndarray
    unit: float
    width: int

    def __post_init__(self) -> None:
        entries = len(self.latents)
        whole = len(self.starts) > 1 and self.starts[0] == 0 and self.starts[-1] == entries == len(self.weights)
        ordered = whole and bool((np.diff(self.starts) >= 0).all())
        if not ordered or not self.unit > 0 or (entries and int(self.latents.max()) >= self.width):
            raise InputError("the table of tokens is damaged: its parts do not fit one another; train it again")

    def __len__(self) -> int:
        """The number of tokens."""
        return len(self.starts) - 1

    @classmethod
    def from_weights(cls, rows: csr_array, most: int) -> TokenTable:
        """Round the largest weights of each token to eight bits.

        Args:
            rows: weights of tokens, shape ``(tokens, width)``.
            most: latents kept of a token, of equal ones the lower.

        Raises:
            InputError: for weights that are not finite or below 0, or if none is above it.
        """
        if not rows.nnz or not np.isfinite(rows.data).all() or rows.data.min() < 0 or not rows.data.max() > 0:
            raise InputError("a table of tokens takes finite weights from 0, and some above it")
        unit = float(rows.data.max()) / LARGEST
        tokens = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
        rounded = np.rint(rows.data / unit).astype(np.int64)
        order = np.lexsort((rows.indices, -rows.data, tokens))
        place = np.arange(len(order)) - rows.indptr[tokens[order]]
        kept = order[(place < most) & (rounded[order] > 0)]
        kept = kept[np.lexsort((rows.indices[kept], tokens[kept]))]
        starts = np.concatenate([[0], np.cumsum(np.bincount(tokens[kept], minlength=rows.shape[0]))]).astype(np.int64)
        narrow = np.uint16 if rows.shape[1] <= _MOST_LATENTS_OF_16_BITS else np.int32
        return cls(starts, rows.indices[kept].astype(narrow), rounded[kept].astype(np.uint8), unit, rows.shape[1])

    def pool(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The latents of a text, ascending, and their weights as uint8.

        Args:
            tokens: ids, in any order and number; those beyond the table have no latents.
        """
        tokens = tokens[tokens < len(self)]
        starts, counts = self.starts[tokens], self.starts[tokens + 1] - self.starts[tokens]
        entries = np.repeat(starts - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
        # One number an entry, so that the last of each latent in their order is its largest.
        ordered = np.sort(self.latents[entries].astype(np.int64) << _BITS | self.weights[entries])
        latents = ordered >> _BITS
        largest = np.flatnonzero(np.diff(latents, append=-1))
        return latents[largest], (ordered[largest] & LARGEST).astype(np.uint8)
