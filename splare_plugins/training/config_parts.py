"""The parts of a training config; the defaults are those of the paper (arXiv 2603.13277, table 4) where it says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from splare_plugins.errors import InputError

Schedule = Literal["quadratic", "linear", "constant"]
OnBad = Literal["error", "skip"]


def require(settings: Any, where: str = "", **right: bool) -> None:
    """Refuse the first of the named settings whose value cannot be used; ``where`` is what precedes its name."""
    for name, holds in right.items():
        if not holds:
            value = getattr(settings, name)
            raise InputError(f"the setting {where + name!r} cannot be {value!r}; see docs/training.md for its range")


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """One source of training examples.

    Attributes:
        source: file, folder, ``irds:NAME``, hub id or short name of a published set.
        columns: names of the columns of TSV or CSV files without a header, in their order.
        queries: what holds the texts of queries, where the rows have their ids.
        corpus: likewise those of documents.
        subset: configuration of a published set; all of them if left out.
        split: of a published set or a BEIR folder.
        limit: examples used of it, the first ones.
        teachers: names of those whose scores hold for it; all if left out.
        unscored: what to do with a row without teacher scores where they are needed.
        invalid: what to do with any other row that cannot be used; what is skipped is counted.
    """

    source: str
    columns: tuple[str, ...] = ()
    queries: str | None = None
    corpus: str | None = None
    subset: str | None = None
    split: str | None = None
    limit: int | None = None
    teachers: tuple[str, ...] | None = None
    unscored: OnBad = "error"
    invalid: OnBad = "error"


@dataclass(frozen=True, kw_only=True)
class TeacherSettings:
    """A teacher that scores every query with every document of a batch.

    Attributes:
        vectors: file of ``splare train embed``.
        scale: factor on its scores before they are added to those of other teachers; cosines need one of 20 to 100.
    """

    vectors: str
    scale: float = 1.0


@dataclass(frozen=True, kw_only=True)
class LossSettings:
    """Parts of the loss.

    Attributes:
        kl: weight of the KL distillation.
        contrastive: weight of the cross entropy over all documents of the batch.
        margin_mse: weight of the squared error of margins.
        budgets: pairs of latents of a query and of a document; the ranking losses are the mean over scores of all
            latents and scores of the heaviest so many, so that what will be pruned is not needed.
        unpruned: whether scores of all latents count beside those of the budgets; ``false`` trains as top-k pooling
            does, with no gradient to what is cut.
        temperature: of the student's scores; ill-suited, it makes a run collapse. The paper: 80 for Llama Scope, 50
            for Gemma Scope, 10 for SPLADE-Llama, chosen from 1, 10, 20, 40, 50, 80, 100 by a dev set.
        lambda_query: weight of the queries' FLOPS.
        lambda_document: weight of the documents' FLOPS.
        schedule: how these weights rise from 0.
        schedule_share: part of all steps in which they rise.
    """

    kl: float = 1.0
    contrastive: float = 0.0
    margin_mse: float = 0.0
    budgets: tuple[tuple[int, int], ...] = ()
    unpruned: bool = True
    temperature: float = 80.0
    lambda_query: float = 1e-4
    lambda_document: float = 1e-4
    schedule: Schedule = "quadratic"
    schedule_share: float = 1 / 3

    def __post_init__(self) -> None:
        require(
            self,
            "loss: ",
            temperature=self.temperature > 0,
            schedule_share=0 <= self.schedule_share <= 1,
            budgets=all(min(budget) >= 1 for budget in self.budgets),
            kl=self.kl >= 0,
            contrastive=self.contrastive >= 0,
            margin_mse=self.margin_mse >= 0,
            lambda_query=self.lambda_query >= 0,
            lambda_document=self.lambda_document >= 0,
        )
        if not self.weights:
            raise InputError("the loss has no part that ranks; give kl, contrastive or margin_mse a weight")
        if not (self.unpruned or self.budgets):
            raise InputError("without budgets, all latents are all there is to rank by; set budgets or unpruned: true")

    @property
    def weights(self) -> dict[str, float]:
        """Weights of the ranking losses that have one."""
        weights = {"kl": self.kl, "contrastive": self.contrastive, "margin_mse": self.margin_mse}
        return {name: weight for name, weight in weights.items() if weight}

    @property
    def needs_scores(self) -> bool:
        """Whether a teacher's scores are used."""
        return bool(self.kl or self.margin_mse)


@dataclass(frozen=True, kw_only=True)
class LoraSettings:
    """The adapter.

    Attributes:
        rank: of the two factors.
        alpha: the product is scaled by alpha / rank; twice the rank if left out.
        dropout: on the adapter's input.
        targets: names of the linear layers; all of them if left out.
        last_layers: adapt only so many layers, counted from the cut downwards; all if left out.
    """

    rank: int = 64
    alpha: float | None = None
    dropout: float = 0.0
    targets: tuple[str, ...] | None = None
    last_layers: int | None = None

    def __post_init__(self) -> None:
        require(self, "lora: ", rank=self.rank >= 1, dropout=0 <= self.dropout < 1)


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """A development set, searched exactly with float weights at the model's own top-k.

    Attributes:
        source: BEIR folder.
        split: its judgements.
        every: steps between evaluations.
        queries: most queries used, the first of the judgements; all if left out.
        documents: most documents used; judged ones always are. All of them if left out.
        measure: name of the measure, as ir-measures knows it.
    """

    source: str
    split: str = "dev"
    every: int = 500
    queries: int | None = 200
    documents: int | None = None
    measure: str = "nDCG@10"


@dataclass(frozen=True, kw_only=True)
class GuardSettings:
    """When to stop a run that has gone wrong.

    Attributes:
        patience: steps in a row that must look wrong.
        dense_share: mean share of active latents above which texts count as dense, once the FLOPS weights are full.
        empty_share: share of texts without any active latent that counts as wrong.
    """

    patience: int = 50
    dense_share: float = 0.5
    empty_share: float = 0.5
