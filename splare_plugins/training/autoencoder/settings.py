"""What defines the training of an SAE, and the sentence that refuses what cannot be one."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from splare_plugins.errors import InputError

TOKENS_A_LATENT = 4
"""A corpus with fewer different tokens to train on for each latent is refused: latents would learn single tokens."""
MOST_UNUSED = 10_000_000
"""Tokens after which sparsify takes a latent for dead that has not fired; fewer where the budget is small."""
TOPK, BATCHTOPK, JUMPRELU = ACTIVATIONS = ("topk", "batchtopk", "jumprelu")
"""What decides which latents of a token fire: the first is trained by sparsify, the others by SAELens."""
_ADAM_RATE = 3e-3
_OPTIONS = {"learning_rate": "--lr", "bidirectional": "--causal"}


@dataclass(frozen=True, kw_only=True)
class SaeSettings:
    """Training of one SAE; each field changes the result, and an interrupted training goes on under the same ones.

    Attributes:
        backbone: hub id, transformers folder, GGUF file, or the name of a built-in model.
        layer: layer whose output is rebuilt, counted from 0.
        width: number of latents.
        k: latents that a token keeps: exactly with ``topk``, otherwise in the mean.
        activation: ``topk``, ``batchtopk`` or ``jumprelu``.
        revision: branch, tag or commit of a hub backbone.
        bidirectional: every token sees every other one, as a retrieval model reads texts.
        prompt: text put before each document; it is encoded and never learnt from, as it is never pooled.
        max_length: tokens kept of a document.
        max_token_norm_ratio: leave out tokens whose state is longer than this multiple of their text's median.
        tokens: to learn from; a smaller corpus is read again.
        batch: tokens of a step.
        buffer: tokens whose states wait, shuffled, for their step.
        learning_rate: by default that of the kind for this width.
        seed: of the first weights and of the shuffling.
        dtype: of the backbone's weights; those of the SAE are float32.
    """

    backbone: str
    layer: int
    width: int
    k: int = 32
    activation: str = TOPK
    revision: str | None = None
    bidirectional: bool = True
    prompt: str = ""
    max_length: int | None = None
    max_token_norm_ratio: float | None = None
    tokens: int = 1_000_000
    batch: int = 1024
    buffer: int = 32_768
    learning_rate: float | None = None
    seed: int = 0
    dtype: str = "auto"

    def __post_init__(self) -> None:
        if self.activation not in ACTIVATIONS:
            raise InputError(f"there is no activation {self.activation!r}; choose one of {', '.join(ACTIVATIONS)}")
        for name in ("width", "k", "batch", "tokens"):
            if getattr(self, name) < 1:
                raise InputError(f"--{name} must be at least 1, not {getattr(self, name)}")
        if self.k > self.width:
            raise InputError(f"a token cannot keep {self.k} of {self.width} latents; lower --k or raise --width")
        if self.batch < 2:
            raise InputError("a batch of one token has no variance to explain; raise --batch")
        if self.buffer < 2 * self.batch:
            raise InputError(
                f"a buffer of {self.buffer} tokens holds fewer than two batches of {self.batch}; raise --buffer or "
                "lower --batch"
            )
        if self.tokens < max(self.batch, self.least_tokens):
            raise InputError(
                f"--tokens {self.tokens} is too little: an SAE of {self.width} latents takes at least "
                f"{max(self.batch, self.least_tokens)} tokens ({TOKENS_A_LATENT} a latent, and one batch)"
            )

    @property
    def least_tokens(self) -> int:
        """Different tokens that the corpus must have to train on."""
        return TOKENS_A_LATENT * self.width

    @property
    def steps(self) -> int:
        """Whole batches of the budget."""
        return self.tokens // self.batch

    @property
    def dead_after(self) -> int:
        """Tokens without firing after which a latent counts as dead."""
        return min(MOST_UNUSED, self.tokens // 10)

    @property
    def rate(self) -> float:
        """The learning rate: by default sparsify's formula, or ten times SAELens' for as short trainings."""
        formula = 5e-3 / (self.width / 2**14) ** 0.5 if self.activation == TOPK else _ADAM_RATE
        return self.learning_rate or formula

    def unlike(self, other: dict[str, Any]) -> str | None:
        """The option of the first setting that is not that of ``other``, the settings of another run as a dict."""
        other = {"activation": TOPK, **other}  # files of before there were others lack it
        mine = dataclasses.asdict(self).items()
        name = next((name for name, value in mine if other.get(name) != value), None)
        return name and _OPTIONS.get(name, f"--{name.replace('_', '-')}")
