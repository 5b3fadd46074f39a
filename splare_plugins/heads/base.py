"""What every head offers to the model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

# A wide head has 100,000 values a token.
_TOKENS_AT_ONCE = 64


class Head(nn.Module, ABC):
    """Token states in, latent weights out.

    Attributes:
        kind: the head's name in a config.
        W: one row a latent, shape ``[width, state_size]``.
    """

    kind: str
    W: nn.Parameter

    @property
    def width(self) -> int:
        """Number of latents."""
        return len(self.W)

    @property
    def state_size(self) -> int:
        """Size of the token states it takes."""
        return self.W.shape[1]

    @abstractmethod
    def forward(self, states: Tensor, offsets: Tensor, keep: Tensor) -> Tensor:
        """Latent weights of packed texts.

        Args:
            states: shape ``[tokens, state_size]``.
            offsets: first token of each text and the end of the last, shape ``[texts + 1]``.
            keep: tokens that may contribute, shape ``[tokens]``, boolean.

        Returns:
            Non-negative weights, shape ``[texts, width]``; an empty text has only zeros.
        """

    @abstractmethod
    def token_values(self, states: Tensor) -> Tensor:
        """What is pooled of each token, all latents at once: what :meth:`forward` avoids, and a graph needs.

        Args:
            states: shape ``[..., state_size]``.

        Returns:
            shape ``[..., width]``.
        """

    @abstractmethod
    def activate(self, pooled: Tensor) -> Tensor:
        """Latent weights of texts from the maxima of their tokens' :meth:`token_values`, shape ``[texts, width]``."""

    def token_weights(self, states: Tensor, latents: Tensor) -> Tensor:
        """What each token alone would give of ``latents``: a text has the largest of its tokens.

        Args:
            states: the kept tokens of a text, shape ``[tokens, state_size]``.
            latents: latent ids, shape ``[n]``.

        Returns:
            Non-negative, shape ``[tokens, n]``.
        """
        parts = states.to(self.W.dtype).split(_TOKENS_AT_ONCE)
        return torch.cat([self.activate(self.token_values(part))[:, latents] for part in parts])

    @abstractmethod
    def name(self, latent: int) -> str:
        """What a person may call the latent; its pseudo-term where nothing better is known."""

    @abstractmethod
    def save(self, folder: Path) -> str:
        """Write the head into ``folder``, which exists, and return the hash of its tensors."""

    def place(self, device: torch.device, dtype: torch.dtype) -> Self:
        """Move to ``device``, with the large matrices in ``dtype``; biases and thresholds stay float32."""
        self.to(device)
        self.W.data = self.W.data.to(dtype)
        return self

    @classmethod
    @abstractmethod
    def load(cls, folder: Path, *, sha256: str | None = None) -> Self:
        """Read what :meth:`save` wrote; refuse it if the tensors do not have the hash ``sha256``."""
