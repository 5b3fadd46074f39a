"""What is done beside each step: the rise of the FLOPS weights, the drift, a log, a progress bar, and guards.

The log has one line a step; the guards stop a run that has gone wrong, with the setting to turn.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from splare_plugins.config import SIDES
from splare_plugins.errors import SplareError
from splare_plugins.machine import Progress
from splare_plugins.machine.files import replacing
from splare_plugins.training.config import GuardSettings, TrainingConfig
from splare_plugins.training.drift import Drift
from splare_plugins.training.losses import warmup
from splare_plugins.training.objective import TrainingLoss

LOG = "log.jsonl"


class Monitor(TrainerCallback):
    """Sets the loss's share before each step and writes ``log.jsonl``.

    Args:
        config: of the run.
        loss: whose share is set.
        folder: of the log.
        drift: the probe, on the process that writes.

    Attributes:
        measured: the last drift, until it is logged.
    """

    def __init__(self, config: TrainingConfig, loss: TrainingLoss, folder: Path, drift: Drift | None) -> None:
        self.config = config
        self.loss = loss
        self.path = folder / LOG
        self.drift = drift
        self.measured: dict[str, float] = {}

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Take back the lines of a killed run that came after its last checkpoint."""
        if state.is_world_process_zero and self.path.is_file():
            lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
            kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= state.global_step]
            with replacing(self.path) as beside:
                beside.write_text("".join(kept), encoding="utf-8")

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Set the share of the FLOPS weights."""
        rise = round(self.config.loss.schedule_share * state.max_steps)
        self.loss.share = warmup(state.global_step, rise, self.config.loss.schedule)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Measure the drift."""
        every = self.config.drift_every
        if self.drift is not None and every and state.global_step % every == 0:
            self.measured = self.drift.measure()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Append a line."""
        if state.is_world_process_zero and logs:
            line = json.dumps({"step": state.global_step, **logs}, ensure_ascii=False)
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(line + "\n")


class Advance(TrainerCallback):
    """Calls a function with the number of steps just done, those of an earlier part of the run at once."""

    def __init__(self, advance: Progress) -> None:
        self.advance = advance

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Steps that a checkpoint brought along."""
        self.advance(state.global_step)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """One step."""
        self.advance(1)


class Guard:
    """Looks at the figures of each step, for a model of so many latents."""

    def __init__(self, settings: GuardSettings, width: int) -> None:
        self.settings = settings
        self.width = width
        self._strikes = dict.fromkeys([f"{kind}_{side}" for kind in ("empty", "dense") for side in SIDES], 0)

    def check(self, figures: Mapping[str, float], *, step: int, share: float) -> None:
        """Raise if the step, or so many in a row, look wrong.

        Args:
            figures: what :class:`TrainingLoss` recorded.
            step: for the message.
            share: part of the FLOPS weights in force; dense texts are not a fault before they are full.

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
            if self._strike(f"empty_{side}", wrong=empty > self.settings.empty_share):
                raise SplareError(
                    f"step {step}: {empty:.0%} of the texts of the {side} side have no active latent left; lower "
                    f"loss: lambda_{side} or learning_rate, or raise loss: temperature"
                )
            active = figures[f"active_{side}"] / self.width
            if self._strike(f"dense_{side}", wrong=share >= 1 and active > self.settings.dense_share):
                raise SplareError(
                    f"step {step}: the texts of the {side} side have {active:.0%} of all latents active although the "
                    f"FLOPS weights are full; raise loss: lambda_{side}, or raise learning_rate"
                )

    def _strike(self, name: str, *, wrong: bool) -> bool:
        self._strikes[name] = self._strikes[name] + 1 if wrong else 0
        return self._strikes[name] >= self.settings.patience
