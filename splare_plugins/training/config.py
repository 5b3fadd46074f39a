"""All settings of a training run; the defaults are those of the paper (arXiv 2603.13277, table 4) where it says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from splare_plugins.errors import InputError
from splare_plugins.training.config_parts import (
    DataSettings,
    EvaluationSettings,
    GuardSettings,
    LoraSettings,
    LossSettings,
    Schedule,
    TeacherSettings,
    require,
)
from splare_plugins.training.settings import Settings

__all__ = [
    "DataSettings",
    "EvaluationSettings",
    "GuardSettings",
    "LoraSettings",
    "LossSettings",
    "RunSettings",
    "Schedule",
    "TeacherSettings",
    "TrainingConfig",
]


@dataclass(frozen=True, kw_only=True)
class RunSettings(Settings):
    """What every kind of run has.

    Attributes:
        model: what is trained.
        output: folder of the run; the trained model stands in its ``model`` folder.
        name: of the trained model; made of the base's if left out.
        batch_size: examples of a step, over all processes.
        learning_rate: at its highest.
        warmup: part of all steps in which it rises.
        precision: of the frozen weights and products; ``auto`` is bfloat16 on cuda. What is trained is float32.
        gradient_checkpointing: run each layer forward again in the backward pass instead of keeping its activations.
        attention: implementation, as transformers names it.
        device: where to train; ``auto`` takes cuda, else mps, else cpu.
        seed: of everything random.
        log_every: steps between lines of the log.
        save_every: steps between checkpoints.
        keep: checkpoints kept.
        copy_backbone: take the files of a backbone on disk into the trained model's folder, its weights as hard links
            where that is possible; ``false`` names their place, which only this machine has.
    """

    model: str
    output: str
    name: str | None = None
    batch_size: int = 128
    learning_rate: float = 5e-5
    warmup: float = 0.01
    precision: Literal["auto", "bfloat16", "float32"] = "auto"
    gradient_checkpointing: bool = False
    attention: str = "auto"
    device: Literal["auto", "cpu"] = "auto"
    seed: int = 42
    log_every: int = 1
    save_every: int = 500
    keep: int = 2
    copy_backbone: bool = True

    def __post_init__(self) -> None:
        least = ("batch_size", "log_every", "save_every", "keep")
        require(self, **{name: getattr(self, name) >= 1 for name in least})
        require(self, learning_rate=self.learning_rate > 0, warmup=0 <= self.warmup < 1)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(RunSettings):
    """A training run of a SPLARE folder, the built-in model or a SPLADE model; its examples are queries.

    Attributes:
        data: sources of examples.
        teachers: by name; where there are some, the KL goes over all documents of a batch, and all examples of a
            batch come from one source.
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
        mini_batch: texts a forward pass (GradCache), where a batch does not fit; ``null`` runs all at once.
        epochs: passes over the data.
        steps: stop after so many steps instead.
        lr_schedule: how the learning rate falls after the warm-up.
        betas: of Adam.
        weight_decay: of AdamW.
        max_grad_norm: longer gradients are cut; ``null`` cuts none.
        dropout: of the backbone while it is trained; as its own config says if left out. On a CPU, dropout costs a
            quarter of a step.
        bidirectional: let every token see every other one where the model does not (a decoder with its LM head).
        workers: processes that tokenise ahead of the training; with none, it waits for the tokenizer.
        dead_after: steps without any activation after which a latent counts as dead.
        drift_every: steps between measurements of the drift from the base model; 0 never measures.
        evaluation: a development set.
        guards: when to stop.
        best: take the weights of the best evaluation instead of the last step's.
    """

    data: tuple[DataSettings, ...]
    teachers: dict[str, TeacherSettings] = field(default_factory=dict)
    norm_power: float | None = None
    negatives: int = 8
    pick: Literal["random", "first"] = "random"
    query_length: int = 128
    document_length: int = 128
    loss: LossSettings = field(default_factory=LossSettings)
    lora: LoraSettings | None = field(default_factory=LoraSettings)
    head: Literal["frozen", "bias", "calibration", "all"] = "frozen"
    mini_batch: int | None = None
    epochs: float = 1.0
    steps: int | None = None
    lr_schedule: Literal["linear", "cosine", "constant_with_warmup"] = "linear"
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    max_grad_norm: float | None = 1.0
    dropout: float | None = None
    bidirectional: bool = False
    workers: int = 0
    dead_after: int = 100
    drift_every: int = 100
    evaluation: EvaluationSettings | None = None
    guards: GuardSettings = field(default_factory=GuardSettings)
    best: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self,
            negatives=self.negatives >= 0,
            query_length=self.query_length >= 1,
            document_length=self.document_length >= 1,
            mini_batch=self.mini_batch is None or self.mini_batch >= 1,
            steps=self.steps is None or self.steps >= 1,
            epochs=self.epochs > 0,
            norm_power=self.norm_power is None or 0 <= self.norm_power <= 1,
            dropout=self.dropout is None or 0 <= self.dropout < 1,
            workers=self.workers >= 0,
        )
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

    @property
    def needs_scores(self) -> bool:
        """Whether the rows of the data must have a teacher's scores."""
        return self.loss.needs_scores and not self.teachers

    def _check_teachers(self) -> None:
        if not self.loss.kl or self.loss.margin_mse or self.loss.contrastive:
            raise InputError("teachers score all documents of a batch for the KL; omit them for other losses")
        for source in self.data:
            if unknown := set(source.teachers or ()) - self.teachers.keys():
                raise InputError(
                    f"{source.source} names the teacher {min(unknown)!r}; there are {', '.join(self.teachers)}"
                )
            if source.teachers == ():
                raise InputError(f"{source.source} has no teacher; name one, or omit teachers for all")
