"""The trainer of sentence-transformers with our loss, checkpoints of what is trained alone, and guards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import PartialState  # type: ignore[import-untyped]
from safetensors.torch import load_file, save_file
from sentence_transformers import SparseEncoderTrainer
from sentence_transformers.base.sampler import DefaultBatchSampler
from torch import Tensor, nn
from transformers import TrainingArguments

from splare_plugins.errors import InputError
from splare_plugins.training.config import RunSettings
from splare_plugins.training.folder import CHECKPOINTS, steps_of
from splare_plugins.training.losses import processes
from splare_plugins.training.monitor import Guard, Monitor
from splare_plugins.training.objective import TrainingLoss
from splare_plugins.training.student import in_bfloat16

TRAINED = "trained.safetensors"
_LAST_ACTIVE = "monitor.last_active"
Arguments = TypeVar("Arguments", bound=TrainingArguments)


class EpochBatches(DefaultBatchSampler):
    """Batches in an order that depends on seed and epoch alone, so that a run goes on where it was killed.

    A generator that is drawn from epoch after epoch would start again with the first one's order.

    Args:
        groups: number of examples of each group, which stand one group after the other; all batches of a step are of
            one group.
        batch_size: of a process.
        processes: how many train together; each takes one of so many batches in a row.
        seed: of the order.
        first_epoch: the epoch that the first iteration is.
    """

    def __init__(
        self, groups: Sequence[int], *, batch_size: int, seed: int, first_epoch: int, processes: int = 1
    ) -> None:
        super().__init__(range(sum(groups)), batch_size=batch_size, drop_last=True)
        self.groups = tuple(groups)
        self.processes = processes
        self.step_size = batch_size * processes
        self.seed = seed
        self.next_epoch = first_epoch

    def __iter__(self) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(self.seed + 1_000_003 * self.next_epoch)
        self.next_epoch += 1
        steps: list[Tensor] = []
        start = 0
        for length in self.groups:
            order = start + torch.randperm(length, generator=generator)
            steps += order[: length // self.step_size * self.step_size].split(self.step_size)
            start += length
        for number in torch.randperm(len(steps), generator=generator).tolist():
            for batch in steps[number].split(self.batch_size):
                yield batch.tolist()

    def __len__(self) -> int:
        return self.processes * sum(length // self.step_size for length in self.groups)


class TrainedWeights:
    """Checkpoints that hold what is trained and nothing else, for a ``Trainer``."""

    model: nn.Module
    args: Any

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint holds, as it is in place."""
        return dict(trained_weights(self.model))

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {name: each.detach().contiguous().cpu() for name, each in self.tensors().items()}
        save_file(tensors, folder / TRAINED)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        path = Path(resume_from_checkpoint) / TRAINED
        saved, tensors = load_file(path), self.tensors()
        if tensors.keys() != saved.keys() or any(tensors[name].shape != saved[name].shape for name in tensors):
            raise InputError(f"{path} holds other weights than this config trains; use the config it was made with")
        with torch.no_grad():
            for name, tensor in tensors.items():
                tensor.copy_(saved[name])


class SplareTrainer(TrainedWeights, SparseEncoderTrainer):
    """Trains a :class:`SplareEncoder` with a :class:`TrainingLoss`.

    Args:
        monitor: one of its callbacks.
        guard: looks at each step.
        first_epoch: the epoch that training starts or goes on in.
        groups: number of examples of each group that batches do not mix.
        **options: those of ``SparseEncoderTrainer``.
    """

    def __init__(
        self, *, monitor: Monitor, guard: Guard, groups: Sequence[int], first_epoch: int = 0, **options: Any
    ) -> None:
        self.monitor = monitor
        self.guard = guard
        self.groups = groups
        self.first_epoch = first_epoch
        super().__init__(**options, callbacks=[monitor])
        self.loss: TrainingLoss

    def get_batch_sampler(self, dataset: Any, batch_size: int, **_: Any) -> EpochBatches:
        """The order of examples."""
        return EpochBatches(
            self.groups,
            batch_size=batch_size,
            seed=self.args.seed,
            first_epoch=self.first_epoch,
            processes=processes(),
        )

    def compute_loss(self, *args: Any, **options: Any) -> Any:
        """The loss, after a look at the figures of the step."""
        loss = super().compute_loss(*args, **options)
        self.guard.check(self.loss.figures, step=self.state.global_step + 1, share=self.loss.share)
        return loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log the figures of the last step with the trainer's own."""
        if "loss" in logs:
            logs = {
                **logs,
                **self.loss.figures,
                "flops_share": self.loss.share,
                "dead_latents": self.loss.dead_latents(self.monitor.config.dead_after),
                **self.monitor.measured,
            }
            self.monitor.measured = {}
        super().log(logs, start_time)

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """None: the card is written when training is done."""

    def tensors(self) -> dict[str, Tensor]:
        """Also when each latent was last active."""
        return {**super().tensors(), _LAST_ACTIVE: self.loss.last_active}

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        self.loss.batches = steps_of(Path(resume_from_checkpoint))


def arguments(kind: type[Arguments], config: RunSettings, state: PartialState, **own: Any) -> Arguments:
    """A trainer's arguments: those of every run, and a run's own."""
    made = kind(
        output_dir=str(Path(config.output) / CHECKPOINTS),
        per_device_train_batch_size=config.batch_size // state.num_processes,
        learning_rate=config.learning_rate,
        warmup_steps=config.warmup,
        bf16=in_bfloat16(config.precision, state.device.type),
        seed=config.seed,
        logging_steps=config.log_every,
        save_steps=config.save_every,
        save_total_limit=config.keep,
        use_cpu=config.device == "cpu",
        remove_unused_columns=False,
        dataloader_pin_memory=state.device.type == "cuda",
        ddp_find_unused_parameters=False,
        report_to="none",
        **own,
    )
    # Keep a process with several devices from splitting batches behind the loss's back; torchrun uses them all.
    _ = made.device  # which sets the number of devices
    made._n_gpu = min(made.n_gpu, 1)
    return made


def trained_weights(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Names and values of all weights that are trained."""
    return [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
