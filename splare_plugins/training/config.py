"""All settings of a training run; the defaults are those of the paper (arXiv 2603.13277, table 4) where it says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from splare_plugins.errors import InputError
from splare_plugins.training.config_parts import (
    DataSettings,
    EvaluationSettings,
    GuardSettings,
    LoraSettings,
    LossSettings,
    Schedule,
    TeacherSettings,
)
from splare_plugins.training.settings import Settings

__all__ = [
    "DataSettings",
    "EvaluationSettings",
    "GuardSettings",
    "LoraSettings",
    "LossSettings",
    "Schedule",
    "TeacherSettings",
    "TrainingConfig",
]


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(Settings):
    """A training run.

    Attributes:
        model: what is trained: a SPLARE folder, the built-in name, or a SPLADE model.
        output: folder of the run; the trained model stands in its ``model`` folder.
        data: sources of examples.
        teachers: by name; where there are some, the KL goes over all documents of a batch, and all examples of a
            batch come from one source.
        name: of the trained model; the base's name with ``-trained`` if left out.
        norm_power: power of a text's norm by which its weights are divided, see
            :class:`splare_plugins.SplareConfig`; the base's if left out.
        negatives: negatives used of a query.
        pick: which ones of those that a row has: ``random`` by the seed, or the ``first``.
        query_length: tokens of a query in training.
        document_length: tokens of a document in training.
        loss: parts of the loss.
        lora: the adapter; ``null`` trains all weights of the backbone.
        head: what of the head is trained with it: its biases (``bias``), biases and a gain of each latent
            (``calibration``), or everything.
        batch_size: queries of a step, over all processes.
        mini_batch: texts a forward pass (GradCache), where a batch does not fit; ``null`` runs all at once.
        epochs: passes over the data.
        steps: stop after so many steps instead.
        learning_rate: at its highest.
        warmup: part of all steps in which it rises.
        lr_schedule: how it falls afterwards.
        betas: of Adam.
        weight_decay: of AdamW.
        max_grad_norm: longer gradients are cut; ``null`` cuts none.
        precision: of the frozen weights and products; ``auto`` is bfloat16 on cuda. What is trained is float32.
        dropout: of the backbone while it is trained; as its own config says if left out. On a CPU, dropout costs a
            quarter of a step.
        gradient_checkpointing: run each layer forward again in the backward pass instead of keeping its activations.
        attention: implementation, as transformers names it.
        device: where to train; ``auto`` takes cuda, else mps, else cpu.
        bidirectional: let every token see every other one where the model does not (a decoder with its LM head).
        workers: processes that tokenise ahead of the training; with none, it waits for the tokenizer.
        seed: of everything random.
        log_every: steps between lines of the log.
        save_every: steps between checkpoints.
        keep: checkpoints kept.
        dead_after: steps without any activation after which a latent counts as dead.
        drift_every: steps between measurements of the drift from the base model; 0 never measures.
        evaluation: a development set.
        guards: when to stop.
        best: take the weights of the best evaluation instead of the last step's.
        copy_backbone: put the backbone's weights into the trained model's folder instead of naming their place.
    """

    model: str
    output: str
    data: tuple[DataSettings, ...]
    teachers: dict[str, TeacherSettings] = field(default_factory=dict)
    name: str | None = None
    norm_power: float | None = None
    negatives: int = 8
    pick: Literal["random", "first"] = "random"
    query_length: int = 128
    document_length: int = 128
    loss: LossSettings = field(default_factory=LossSettings)
    lora: LoraSettings | None = field(default_factory=LoraSettings)
    head: Literal["frozen", "bias", "calibration", "all"] = "frozen"
    batch_size: int = 128
    mini_batch: int | None = None
    epochs: float = 1.0
    steps: int | None = None
    learning_rate: float = 5e-5
    warmup: float = 0.01
    lr_schedule: Literal["linear", "cosine", "constant_with_warmup"] = "linear"
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    max_grad_norm: float | None = 1.0
    precision: Literal["auto", "bfloat16", "float32"] = "auto"
    dropout: float | None = None
    gradient_checkpointing: bool = False
    attention: str = "auto"
    bidirectional: bool = False
    device: Literal["auto", "cpu"] = "auto"
    workers: int = 0
    seed: int = 42
    log_every: int = 1
    save_every: int = 500
    keep: int = 2
    dead_after: int = 100
    drift_every: int = 100
    evaluation: EvaluationSettings | None = None
    guards: GuardSettings = field(default_factory=GuardSettings)
    best: bool = False
    copy_backbone: bool = False

    def __post_init__(self) -> None:
        for name in ("negatives", "save_every", "keep", "log_every", "batch_size", "query_length", "document_length"):
            _require(getattr(self, name) >= (0 if name == "negatives" else 1), name, getattr(self, name))
        for name in ("mini_batch", "steps"):
            _require(getattr(self, name) is None or getattr(self, name) >= 1, name, getattr(self, name))
        _require(self.epochs > 0, "epochs", self.epochs)
        _require(self.learning_rate > 0, "learning_rate", self.learning_rate)
        _require(0 <= self.warmup < 1, "warmup", self.warmup)
        _require(self.loss.temperature > 0, "loss: temperature", self.loss.temperature)
        _require(0 <= self.loss.schedule_share <= 1, "loss: schedule_share", self.loss.schedule_share)
        for budget in self.loss.budgets:
            _require(min(budget) >= 1, "loss: budgets", list(budget))
        _require(self.norm_power is None or 0 <= self.norm_power <= 1, "norm_power", self.norm_power)
        for name, weight in {**self.loss.weights, **self._lambdas()}.items():
            _require(weight >= 0, f"loss: {name}", weight)
        if not any(self.loss.weights.values()):
            raise InputError("the loss has no part that ranks; give kl, contrastive or margin_mse a weight")
        _require(self.dropout is None or 0 <= self.dropout < 1, "dropout", self.dropout)
        _require(self.workers >= 0, "workers", self.workers)
        if self.teachers:
            self._check_teachers()
        elif self.loss.needs_scores and not self.negatives:
            raise InputError(
                "distillation compares candidates; negatives must be at least 1, or use contrastive alone"
            )
        if not self.data:
            raise InputError("there is no training data; name a source under data")
        if self.best and self.evaluation is None:
            raise InputError("best needs an evaluation to choose by; set evaluation, or best: false")
        if self.evaluation is not None and self.best and self.evaluation.every % self.save_every:
            raise InputError(
                f"with best, evaluations (every {self.evaluation.every} steps) must fall on checkpoints (every "
                f"{self.save_every}); set evaluation: every to a multiple of save_every"
            )
        if self.lora is not None:
            _require(self.lora.rank >= 1, "lora: rank", self.lora.rank)
            _require(0 <= self.lora.dropout < 1, "lora: dropout", self.lora.dropout)

    @property
    def needs_scores(self) -> bool:
        """Whether the rows of the data must have a teacher's scores."""
        return self.loss.needs_scores and not self.teachers

    def _check_teachers(self) -> None:
        if not self.loss.kl or self.loss.margin_mse or self.loss.contrastive:
            raise InputError("teachers score all documents of a batch for the KL; leave them out for other losses")
        for source in self.data:
            if unknown := set(source.teachers or ()) - self.teachers.keys():
                raise InputError(
                    f"{source.source} names the teacher {min(unknown)!r}; there are {', '.join(self.teachers)}"
                )
            if source.teachers == ():
                raise InputError(f"{source.source} has no teacher; name one, or leave teachers out for all")

    def _lambdas(self) -> dict[str, float]:
        return {"lambda_query": self.loss.lambda_query, "lambda_document": self.loss.lambda_document}


def _require(condition: bool, name: str, value: Any) -> None:
    if not condition:
        raise InputError(f"the setting {name!r} cannot be {value!r}; see docs/training.md for its range")
