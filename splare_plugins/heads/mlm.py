"""The masked-language-model head: what BERT and its kin do to a state before their logits, as in SPLADE-v3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional

from splare_plugins.errors import InputError
from splare_plugins.heads.lm import LanguageModelHead
from splare_plugins.heads.record import require_finite


class MaskedLanguageModelHead(LanguageModelHead):
    """Logits ``W norm(act(D h + d)) + b`` of every vocabulary token.

    Args:
        W: decoder rows, shape ``[vocabulary, m]``.
        b: decoder bias, shape ``[vocabulary]``; ``None`` is no bias.
        dense: the transform's matrix, shape ``[m, state_size]``.
        norm: LayerNorm's gain, shape ``[m]``.
        dense_bias: shape ``[m]``; zeros where a model has none.
        norm_bias: shape ``[m]``; zeros where a model has none.
        activation: name of the transform's activation, as transformers knows it.
        eps: LayerNorm's epsilon.
        tokens: as in :class:`LanguageModelHead`.
        card: as in :class:`LanguageModelHead`.
    """

    kind = "mlm"

    def __init__(
        self,
        W: Tensor,
        b: Tensor | None = None,
        *,
        dense: Tensor,
        norm: Tensor,
        dense_bias: Tensor | None = None,
        norm_bias: Tensor | None = None,
        activation: str = "gelu",
        eps: float = 1e-12,
        tokens: Sequence[str] = (),
        card: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(W, b, tokens=tokens, card=card)
        dense_bias = torch.zeros_like(norm) if dense_bias is None else dense_bias
        norm_bias = torch.zeros_like(norm) if norm_bias is None else norm_bias
        shapes = {tuple(vector.shape) for vector in (norm, dense_bias, norm_bias)}
        if dense.dim() != 2 or shapes != {tuple(W.shape[1:])} or len(dense) != W.shape[1]:
            raise InputError(
                "an MLM head needs W[vocabulary, m], dense[m, d] and three vectors of m, not "
                f"{tuple(W.shape)}, {tuple(dense.shape)} and {', '.join(map(str, shapes))}"
            )
        require_finite(dense, norm, dense_bias, norm_bias)
        from transformers.activations import ACT2FN

        if activation not in ACT2FN:
            raise InputError(f"unknown activation {activation!r} in an MLM head; transformers names them, like 'gelu'")
        self.dense = torch.nn.Parameter(dense, requires_grad=False)
        self.dense_bias = torch.nn.Parameter(dense_bias.float(), requires_grad=False)
        self.norm = torch.nn.Parameter(norm.float(), requires_grad=False)
        self.norm_bias = torch.nn.Parameter(norm_bias.float(), requires_grad=False)
        self.activation = activation
        self._activate = ACT2FN[activation]
        self.eps = eps

    @property
    def state_size(self) -> int:
        """Size of the token states it was trained on."""
        return self.dense.shape[1]

    def transform(self, states: Tensor) -> Tensor:
        """Dense layer, activation and norm, on each token; the norm runs in float32."""
        dense = functional.linear(states, self.dense, self.dense_bias.to(states.dtype))
        active = self._activate(dense)
        normed = functional.layer_norm(active.float(), self.norm.shape, self.norm, self.norm_bias, self.eps)
        return normed.to(states.dtype)

    def tensors(self) -> dict[str, Tensor]:  # noqa: D102
        own = {"dense": self.dense, "dense_bias": self.dense_bias, "norm": self.norm, "norm_bias": self.norm_bias}
        return {**super().tensors(), **own}

    def options(self) -> dict[str, Any]:  # noqa: D102
        return {"activation": self.activation, "eps": self.eps}

    def place(self, device: torch.device, dtype: torch.dtype) -> Self:  # noqa: D102
        super().place(device, dtype)
        self.dense.data = self.dense.data.to(dtype)
        return self
