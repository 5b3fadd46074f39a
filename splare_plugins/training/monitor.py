"""What is done beside each step: the rise of the FLOPS weights, the drift, and a log of one line a step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from splare_plugins.machine.files import replacing
from splare_plugins.training.config import TrainingConfig
from splare_plugins.training.drift import Drift
from splare_plugins.training.flops import warmup
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
