"""What every kind of SAE in training has in common, whichever library trains it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from splare_plugins.errors import SplareError
from splare_plugins.heads import SparseAutoencoder

_AT_ONCE = 1024
_ALIKE = 1e-9  # rounding in float32 leaves less


class Measured(NamedTuple):
    """What an SAE makes of states."""

    explained: float
    """Share of their variance that it rebuilds."""
    l0: float
    """Mean number of active latents of a token."""


class Learner(ABC):
    """An SAE and its optimiser.

    States are brought to a mean norm of sqrt(d) while it learns, since the steps of the libraries' optimisers have one
    length whatever the states' is; at the end the scale goes into the weights, and the SAE takes states as they are.

    Attributes:
        library: distribution that trains it.
        scale: of the states.
    """

    library: str
    scale = 1.0

    def begin(self, states: Tensor) -> None:
        """Take the scale from some states, and their mean as the decoder's bias.

        Raises:
            SplareError: if they are all alike.
        """
        states = states.float()
        if float((states - states.mean(0)).square().sum()) <= _ALIKE * float(states.square().sum()):
            raise SplareError(
                f"the states of the first {len(states)} tokens are all alike, so there is nothing to explain; give "
                "other text, or another --layer"
            )
        self.scale = float(states.shape[1] ** 0.5 / states.norm(dim=1).mean())
        self.start(states)

    @abstractmethod
    def start(self, states: Tensor) -> None:
        """Begin at some states, which are not scaled yet: with their mean as the decoder's bias."""

    @abstractmethod
    def step(self, states: Tensor) -> float:
        """Learn from a batch; the share of its variance that was explained before.

        Raises:
            SplareError: if the loss is not finite.
        """

    @abstractmethod
    def rebuild(self, states: Tensor) -> tuple[Tensor, int]:
        """What scaled states become, and how many latents were active for it."""

    @property
    @abstractmethod
    def dead_share(self) -> float:
        """Share of the latents that have not fired for long."""

    @abstractmethod
    def finish(self) -> None:
        """Fold the scale into the weights."""

    @abstractmethod
    def head(self, folder: Path, layer: int) -> SparseAutoencoder:
        """The library's own file, written into ``folder`` and read as any other of its files is."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """All that the next step depends on."""

    @abstractmethod
    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state` gave."""

    @torch.no_grad()
    def measure(self, states: Tensor) -> Measured:
        """How well states are rebuilt."""
        states = states.float() * self.scale
        total, lost, active = (states - states.mean(0)).square().sum(), 0.0, 0
        for part in states.split(_AT_ONCE):
            rebuilt, count = self.rebuild(part)
            lost += float((part - rebuilt).square().sum() / total)
            active += count
        return Measured(1 - lost, active / len(states))


def require_finite_loss(loss: Tensor) -> None:
    """Refuse to go on from a loss that is not finite.

    Raises:
        SplareError: then.
    """
    if not bool(loss.isfinite()):
        raise SplareError(
            f"the loss is {loss.item()}: the states of a batch are all alike, or the learning rate is too high; "
            "give other text, raise --batch, or lower --lr"
        )
