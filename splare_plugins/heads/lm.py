"""The language-model head: latents are the tokens of a vocabulary, as in SPLADE on a decoder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional

from splare_plugins.errors import InputError
from splare_plugins.heads.base import Head
from splare_plugins.heads.record import read_record, require_finite, write_record
from splare_plugins.impacts import latent_term
from splare_plugins.pooling import activate, sae_max_pool

TOKENS = "tokens.json"


class LanguageModelHead(Head):
    """Logits ``z = scale * (W h + b)``, optionally soft-capped, of every vocabulary token.

    A positive scale and the soft cap ``c * tanh(z / c)`` rise with ``z``, so like bias and log1p they commute with
    the maximum over tokens and are applied once a text.

    Args:
        W: output embeddings, shape ``[vocabulary, state_size]``.
        b: output bias, shape ``[vocabulary]``; ``None`` is no bias.
        scale: factor on the logits, > 0 (Cohere's ``logit_scale``, the inverse of Granite's ``logits_scaling``).
        softcap: bound of the logits (Gemma 2's ``final_logit_softcapping``).
        tokens: the vocabulary, position = latent id; saved beside the tensors, may be shorter than ``W``.
        card: where the head comes from; kept as JSON beside the tensors.
    """

    kind = "lm"

    def __init__(
        self,
        W: Tensor,
        b: Tensor | None = None,
        *,
        scale: float = 1.0,
        softcap: float | None = None,
        tokens: Sequence[str] = (),
        card: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        b = torch.zeros(len(W), device=W.device) if b is None else b
        if W.dim() != 2 or b.shape != W.shape[:1]:
            raise InputError(
                f"a head needs W[vocabulary, d] and b[vocabulary], not {tuple(W.shape)}, {tuple(b.shape)}"
            )
        if not (scale > 0 and (softcap is None or softcap > 0)):
            raise InputError(f"the logit scale and soft cap of a head must be positive, not {scale} and {softcap}")
        if len(tokens) > len(W):
            raise InputError(f"a head of {len(W)} logits cannot have {len(tokens)} tokens")
        require_finite(W, b)
        self.W = torch.nn.Parameter(W, requires_grad=False)
        self.b = torch.nn.Parameter(b.float(), requires_grad=False)
        self.scale = float(scale)
        self.softcap = softcap
        self.tokens = list(tokens)
        self.card = dict(card or {})

    def transform(self, states: Tensor) -> Tensor:
        """What is done to token states before the output embeddings, shape ``[tokens, d]``: nothing here."""
        return states

    def forward(self, states: Tensor, offsets: Tensor, keep: Tensor) -> Tensor:  # noqa: D102
        return self.activate(sae_max_pool(self.transform(states), self.W, offsets, keep))

    def token_values(self, states: Tensor) -> Tensor:  # noqa: D102
        return functional.linear(self.transform(states), self.W)

    def activate(self, pooled: Tensor) -> Tensor:  # noqa: D102
        logits = pooled * self.scale
        bias: Tensor = self.b * self.scale
        zero = torch.zeros_like(bias)
        if self.softcap is not None:
            logits, bias = self.softcap * torch.tanh((logits + bias) / self.softcap), zero
        return activate(logits, bias, zero)

    def name(self, latent: int) -> str:  # noqa: D102
        return self.tokens[latent] if latent < len(self.tokens) else latent_term(latent)

    def tensors(self) -> dict[str, Tensor]:
        """What is saved and hashed, by the names of the constructor's arguments."""
        return {"W": self.W, "b": self.b}

    def options(self) -> dict[str, Any]:
        """The constructor's other arguments, as JSON types; saved in the card."""
        return {"scale": self.scale, "softcap": self.softcap}

    def save(self, folder: Path) -> str:  # noqa: D102
        (folder / TOKENS).write_text(json.dumps(self.tokens, ensure_ascii=False), encoding="utf-8")
        about = {"kind": self.kind, "width": self.width, "state_size": self.state_size, "options": self.options()}
        return write_record(folder, self.tensors(), {**self.card, **about})

    @classmethod
    def load(cls, folder: Path, *, sha256: str | None = None) -> Self:  # noqa: D102
        return read_record(
            folder,
            lambda tensors, card: cls(
                **{**tensors, **card.pop("options")},
                tokens=json.loads((folder / TOKENS).read_text(encoding="utf-8")),
                card=card,
            ),
            what=f"{cls.kind} head",
            sha256=sha256,
        )
