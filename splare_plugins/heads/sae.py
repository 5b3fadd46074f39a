"""The sparse autoencoder head: one record for every public suite.

Scales, decoder norms, input biases and calibrations are folded into ``W``, ``b`` and ``theta`` when an SAE
is imported, so nothing but ``z = W h + b`` is left to do at run time; the decoder is not kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional

from splare_plugins.errors import InputError
from splare_plugins.heads.base import Head
from splare_plugins.heads.labels import IDENTITY, LABELS, Label, about_labels, read_labels, write_labels
from splare_plugins.heads.record import read_record, require_finite, write_record
from splare_plugins.impacts import latent_term
from splare_plugins.pooling import activate, sae_max_pool, topk_max_pool


class SparseAutoencoder(Head):
    """The encoder of an SAE: ``a_j = z_j if z_j > theta_j else 0`` with ``z = W h + b``.

    Args:
        W: encoder rows, shape ``[width, state_size]``.
        b: encoder bias, shape ``[width]``.
        theta: JumpReLU thresholds >= 0, shape ``[width]``; ``None`` is a plain ReLU.
        k: keep only the ``k`` largest latents of each token (TopK SAEs), exactly; ``None`` keeps all.
        card: where the SAE comes from: source, sha256, licence, layer, scale; kept as JSON beside the tensors.
        labels: what latents stand for, where somebody found out; kept as a table beside the tensors.

    Attributes:
        labels_of: the model for which the labels were made, by its identity; they are not taken along to another.
    """

    kind = "sae"

    def __init__(
        self,
        W: Tensor,
        b: Tensor,
        theta: Tensor | None = None,
        *,
        k: int | None = None,
        card: dict[str, Any] | None = None,
        labels: Mapping[int, Label] | None = None,
    ) -> None:
        super().__init__()
        if W.dim() != 2 or b.shape != W.shape[:1]:
            raise InputError(f"an SAE needs W[width, d] and b[width], not {tuple(W.shape)} and {tuple(b.shape)}")
        theta = torch.zeros_like(b) if theta is None else theta
        if theta.shape != b.shape or bool((theta < 0).any()):
            raise InputError(f"an SAE needs thresholds theta[{len(b)}] >= 0")
        require_finite(W, b, theta)
        if k is not None and k < 1:
            raise InputError(f"the k of a TopK SAE must be at least 1, not {k}")
        self.W = torch.nn.Parameter(W, requires_grad=False)
        self.b = torch.nn.Parameter(b, requires_grad=False)
        self.register_buffer("theta", theta)
        self.theta: Tensor
        self.k = k
        self.card = dict(card or {})
        self.labels = dict(labels or {})
        self.labels_of: str | None = None

    def forward(self, states: Tensor, offsets: Tensor, keep: Tensor) -> Tensor:  # noqa: D102
        if self.k is None:
            return self.activate(sae_max_pool(states, self.W, offsets, keep))
        return self.activate(topk_max_pool(states, self.W, self.b, self.k, offsets, keep))

    def token_values(self, states: Tensor) -> Tensor:  # noqa: D102
        if self.k is None:
            return functional.linear(states, self.W)
        values = functional.linear(states, self.W, self.b.to(states.dtype))
        smallest = values.topk(min(self.k, self.width), dim=-1).values[..., -1:]
        return values.masked_fill(values < smallest, -torch.inf)

    def activate(self, pooled: Tensor) -> Tensor:  # noqa: D102
        # A TopK has its bias in what it compares.
        return activate(pooled, self.b if self.k is None else torch.zeros_like(self.b), self.theta)

    def name(self, latent: int) -> str:  # noqa: D102
        label = self.labels.get(latent)
        return latent_term(latent) if label is None else label.text

    @property
    def lasting_labels(self) -> dict[int, Label]:
        """The labels that hold for this SAE in any model."""
        return self.labels if self.labels_of is None else {}

    def calibrated(self, center: Tensor, gain: Tensor) -> SparseAutoencoder:
        """The same SAE with ``z`` replaced by ``gain * (z - center)``, folded into the record.

        Args:
            center: per latent, in units of ``z``, shape ``[width]``.
            gain: per latent, > 0, shape ``[width]``.

        Raises:
            InputError: if a gain is not positive, or the SAE has thresholds or a per-token TopK, which
                would compare latents on a scale they were not trained on.
        """
        if bool((gain <= 0).any()):
            raise InputError("the gain of a calibration must be positive for every latent")
        if self.k is not None or bool(self.theta.any()):
            raise InputError("only a plain ReLU SAE can be calibrated per latent")
        b = (self.b - center) * gain
        return SparseAutoencoder(self.W * gain[:, None], b, card=self.card, labels=self.lasting_labels)

    def save(self, folder: Path) -> str:  # noqa: D102
        if self.lasting_labels:
            write_labels(folder / LABELS, self.lasting_labels)
        card = {**self.card, "kind": self.kind, "width": self.width, "state_size": self.state_size, "k": self.k}
        return write_record(folder, {"W": self.W, "b": self.b, "theta": self.theta}, card)

    @classmethod
    def load(cls, folder: Path, *, sha256: str | None = None) -> Self:  # noqa: D102
        head = read_record(
            folder,
            lambda tensors, card: cls(tensors["W"], tensors["b"], tensors["theta"], k=card.pop("k"), card=card),
            what="SAE head",
            sha256=sha256,
        )
        if (folder / LABELS).is_file():
            head.labels = read_labels(folder / LABELS, head.width)
            head.labels_of = about_labels(folder / LABELS).get(IDENTITY)
        return head
