"""Stops a run that has gone wrong, with the setting to turn."""

from __future__ import annotations

import math
from collections.abc import Mapping

from splare_plugins.errors import SplareError
from splare_plugins.training.config import GuardSettings

SIDES = ("query", "document")


class Guard:
    """Looks at the figures of each step.

    Args:
        settings: limits and patience.
        width: number of latents.
    """

    def __init__(self, settings: GuardSettings, width: int) -> None:
        self.settings = settings
        self.width = width
        self._strikes = dict.fromkeys([f"{kind}_{side}" for kind in ("empty", "dense") for side in SIDES], 0)

    def check(self, figures: Mapping[str, float], *, step: int, share: float) -> None:
        """Raise if the step, or so many in a row, look wrong.

        Args:
            figures: what :class:`TrainingLoss` recorded.
            step: for the message.
            share: part of the FLOPS weights in force; dense texts are no fault before they are full.

        Raises:
            SplareError: naming the setting to turn.
        """
        if bad := next((name for name, value in figures.items() if not math.isfinite(value)), None):
            raise SplareError(
                f"step {step}: {bad} is {figures[bad]}; lower learning_rate, raise loss: temperature, or set "
                "precision: float32"
            )
        for side in SIDES:
            empty = figures[f"empty_{side}"]
            if self._strike(f"empty_{side}", empty > self.settings.empty_share):
                raise SplareError(
                    f"step {step}: {empty:.0%} of the texts of the {side} side have no active latent left; lower "
                    f"loss: lambda_{side} or learning_rate, or raise loss: temperature"
                )
            active = figures[f"active_{side}"] / self.width
            if self._strike(f"dense_{side}", share >= 1 and active > self.settings.dense_share):
                raise SplareError(
                    f"step {step}: the texts of the {side} side have {active:.0%} of all latents active although the "
                    f"FLOPS weights are full; raise loss: lambda_{side}, or raise learning_rate"
                )

    def _strike(self, name: str, wrong: bool) -> bool:
        self._strikes[name] = self._strikes[name] + 1 if wrong else 0
        return self._strikes[name] >= self.settings.patience
