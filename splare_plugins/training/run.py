"""One training run, from its config to the folder of the model."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from accelerate import PartialState  # type: ignore[import-untyped]
from datasets import Dataset
from sentence_transformers import SparseEncoderTrainingArguments
from transformers import PrinterCallback, ProgressCallback, TrainerCallback
from transformers.integrations import TensorBoardCallback

from splare_plugins.config import SIDES, SplareConfig
from splare_plugins.errors import InputError
from splare_plugins.machine.files import file_sha256
from splare_plugins.training.config import TrainingConfig
from splare_plugins.training.data.mixture import EXAMPLES, Collator, prepare
from splare_plugins.training.data.teachers import Teachers, TeacherVectors
from splare_plugins.training.development import Development
from splare_plugins.training.drift import Drift
from splare_plugins.training.folder import MODEL, begin, last_checkpoint, require_same_data, steps_of
from splare_plugins.training.monitor import Guard, Monitor
from splare_plugins.training.objective import TrainingLoss
from splare_plugins.training.result import publish, write_trained
from splare_plugins.training.student import load_student
from splare_plugins.training.trainer import SplareTrainer, arguments, trained_weights

logger = logging.getLogger(__name__)


class Outcome(NamedTuple):
    """What a run came to."""

    folder: Path
    """Of the model."""
    config: SplareConfig
    steps: int
    figures: dict[str, float]
    """Of the last step and the last evaluation."""


def train(config: TrainingConfig, *, overwrite: bool = False, callbacks: Sequence[TrainerCallback] = ()) -> Outcome:
    """Train a model; a run that was killed goes on from its last checkpoint.

    With several processes (torchrun, accelerate launch), every one calls this.

    Args:
        config: of the run.
        overwrite: throw away what an earlier run left in the output folder.
        callbacks: told of every step on the main process, for a progress bar, say.

    Raises:
        InputError: for data, a model or settings that cannot be trained, before the first step; or if the output
            folder holds another run.
        SplareError: if a guard stops the run.
    """
    state = begin(config, overwrite=overwrite)
    output = Path(config.output)
    with state.main_process_first():  # the others find its files
        examples = prepare(config, output / "data")
    groups = _groups(examples, config)
    per_epoch = sum(size // config.batch_size for size in groups)
    if small := [number for number, size in enumerate(groups) if size < config.batch_size]:
        what = config.data[small[0]].source if config.teachers else "the data"
        raise InputError(
            f"{what}: there are {groups[small[0]]} examples, fewer than batch_size {config.batch_size}; lower it"
        )
    if config.workers:
        # A forked worker would wait for ever for the threads of its parent's tokenizer.
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
    evaluator = None if config.evaluation is None else Development(config.evaluation)
    student = load_student(config, device=state.device.type)
    if state.is_main_process:
        require_same_data(output, _hashes(config, student.base.config, evaluator))
    checkpoint = last_checkpoint(output)
    done = steps_of(checkpoint)
    loss = TrainingLoss(
        student.encoder,
        settings=config.loss,
        mini_batch=config.mini_batch,
        width=student.base.config.width,
        in_batch=bool(config.teachers),
    )
    drift = None
    if state.is_main_process and config.drift_every:
        texts = examples[:16]
        drift = Drift(student.encoder, texts["query"], [documents[0] for documents in texts["documents"]], output)
    trainer = SplareTrainer(
        monitor=Monitor(config, loss, output, drift),
        guard=Guard(config.guards, student.base.config.width),
        first_epoch=done // per_epoch,
        groups=groups,
        model=student.encoder,
        args=_arguments(config, state),
        train_dataset=examples,
        loss=loss,
        evaluator=evaluator,
        data_collator=Collator(
            student.encoder.preprocess,
            lengths={"query": config.query_length, "document": config.document_length},
            side_prompts={side: student.base.config.side(side).prompt for side in SIDES},
            teachers=_teachers(config),
        ),
    )
    for printer in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(printer)
    if state.is_main_process:
        _add_tensorboard(trainer, output, done)
        for callback in callbacks:
            trainer.add_callback(callback)
    logger.info("%d weights are trained", sum(weight.numel() for _, weight in trained_weights(student.encoder)))
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    student.encoder.eval()
    saved = student.base.config
    if state.is_main_process:
        saved = publish(output / MODEL, lambda made: write_trained(student, config, made))
    state.wait_for_everyone()
    figures = {name: value for entry in trainer.state.log_history for name, value in entry.items()}
    return Outcome(output / MODEL, saved, trainer.state.global_step, figures)


def _arguments(config: TrainingConfig, state: PartialState) -> SparseEncoderTrainingArguments:
    evaluation = config.evaluation
    return arguments(
        SparseEncoderTrainingArguments,
        config,
        state,
        num_train_epochs=config.epochs,
        max_steps=config.steps or -1,
        lr_scheduler_type=config.lr_schedule,
        adam_beta1=config.betas[0],
        adam_beta2=config.betas[1],
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm or 0.0,
        logging_nan_inf_filter=False,
        eval_strategy="no" if evaluation is None else "steps",
        eval_steps=None if evaluation is None else evaluation.every,
        load_best_model_at_end=config.best,
        metric_for_best_model="eval_dev" if config.best else None,
        greater_is_better=True if config.best else None,
        dataloader_drop_last=True,
        dataloader_num_workers=config.workers,
    )


def _groups(examples: Dataset, config: TrainingConfig) -> list[int]:
    """Sizes of what batches do not mix: sources, where teachers differ from one to another."""
    if not config.teachers:
        return [len(examples)]
    return np.bincount(examples.with_format("numpy")["source"], minlength=len(config.data)).tolist()  # type: ignore[no-any-return]


def _hashes(config: TrainingConfig, base: SplareConfig, evaluator: Development | None) -> dict[str, str]:
    """What weights and the choice of the best depend on besides the settings."""
    found = {
        "the training data (rows or scores)": file_sha256(Path(config.output) / "data" / EXAMPLES),
        f"the model {config.model}": base.fingerprint(),
    }
    if evaluator is not None:
        found["the development set"] = evaluator.judged.data_hash()
    return found | {f"the teacher {name}": file_sha256(Path(each.vectors)) for name, each in config.teachers.items()}


def _teachers(config: TrainingConfig) -> list[Teachers]:
    """Those of each source; none where the data bring their own scores."""
    if not config.teachers:
        return []
    loaded = {name: TeacherVectors.load(Path(each.vectors)) for name, each in config.teachers.items()}
    return [
        Teachers([(config.teachers[name].scale, loaded[name]) for name in source.teachers or config.teachers])
        for source in config.data
    ]


def _add_tensorboard(trainer: SplareTrainer, output: Path, done: int) -> None:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        logger.warning("tensorboard is not installed; figures are in %s alone", trainer.monitor.path)
        return
    writer = SummaryWriter(str(output / "tensorboard"), purge_step=done + 1 if done else None)
    trainer.add_callback(TensorBoardCallback(tb_writer=writer))
