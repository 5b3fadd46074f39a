"""The loop: states fill a bounded buffer, are shuffled in it, and half of them are learnt from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch

from splare_plugins.training.autoencoder.learner import Learner
from splare_plugins.training.autoencoder.settings import TOPK, SaeSettings
from splare_plugins.training.autoencoder.states import States

_REPORTS = 10


class Progressed(NamedTuple):
    """Where a training stands."""

    tokens: int
    """Learnt from so far."""
    explained: float
    """Of the last batch, before its step."""
    dead_share: float


class Loop:
    """A training that can stop between two rounds and go on elsewhere.

    Args:
        states: to learn from.
        settings: of the training.

    Attributes:
        held_out: states that are only measured on.
        learner: the SAE.
        step: steps done.
        untrained: share of the variance that was explained before the first step.
    """

    def __init__(self, states: States, settings: SaeSettings) -> None:
        self.states = states
        self.settings = settings
        self.held_out = states.held_out()
        self.learner = _new_learner(self.held_out.shape[1], settings, self.held_out.device)
        self.step = 0
        self.untrained = 0.0
        self._waiting = self.held_out[:0]
        self._shuffling = torch.Generator().manual_seed(settings.seed)

    @property
    def tokens(self) -> int:
        """Learnt from so far."""
        return self.step * self.settings.batch

    def rounds(
        self, on_progress: Callable[[int], None] | None, on_report: Callable[[Progressed], None] | None
    ) -> Iterator[None]:
        """Learn from half a buffer at a time; between two of them, :meth:`state` is all that the rest depends on."""
        batch, steps = self.settings.batch, self.settings.steps
        while self.step < steps:
            left = steps - self.step
            self._fill(min(self.settings.buffer, left * batch))
            # Half stays, to be mixed with what is read next; the end takes all.
            count = left if left * batch <= len(self._waiting) else self.settings.buffer // (2 * batch)
            taken, self._waiting = self._waiting[: count * batch], self._waiting[count * batch :]
            for part in taken.split(batch):
                explained = self.learner.step(part)
                self.step += 1
                if on_progress is not None:
                    on_progress(batch)
                if on_report is not None and self.step * _REPORTS // steps > (self.step - 1) * _REPORTS // steps:
                    on_report(Progressed(self.tokens, explained, self.learner.dead_share))
            yield

    def _fill(self, wanted: int) -> None:
        """Have at least so many states waiting, in a new order."""
        if len(self._waiting) < wanted:
            self._waiting = torch.cat([self._waiting, self.states.read(wanted - len(self._waiting))])
        order = torch.randperm(len(self._waiting), generator=self._shuffling)
        self._waiting = self._waiting[order.to(self._waiting.device)]
        if self.step == 0:
            self.learner.begin(self._waiting)
            self.untrained = self.learner.measure(self.held_out).explained

    def state(self) -> dict[str, Any]:
        """All that the rest of the training depends on, beside settings and corpus."""
        return {
            "learner": self.learner.state(),
            "shuffling": self._shuffling.get_state(),
            "waiting": self._waiting.clone(),  # a part of a larger tensor would be saved whole
            "passes": self.states.passes,
            "position": self.states.position,
            "step": self.step,
            "untrained": self.untrained,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state` gave."""
        self.learner.load_state(state["learner"])
        self._shuffling.set_state(state["shuffling"])
        self._waiting = state["waiting"].to(self.held_out.device)
        self.states.go_to(state["passes"], state["position"])
        self.step, self.untrained = state["step"], state["untrained"]


def _new_learner(d_model: int, settings: SaeSettings, device: torch.device) -> Learner:
    """An untrained SAE of the asked kind; only the library that trains it is imported."""
    if settings.activation == TOPK:
        from splare_plugins.training.autoencoder.coder import TopKLearner

        return TopKLearner(d_model, settings, device)
    from splare_plugins.training.autoencoder.thresholds import ThresholdLearner

    return ThresholdLearner(d_model, settings, device)
