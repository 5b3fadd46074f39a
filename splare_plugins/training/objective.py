"""The whole loss of a batch: its parts, their weights, and the figures of a step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from sentence_transformers import SparseEncoder
from sentence_transformers.base.losses.gradcache import CachedLossMixin
from torch import Tensor, nn

from splare_plugins.model.batching import keep_top_k
from splare_plugins.training.config import LossSettings
from splare_plugins.training.losses import (
    batch_mean,
    contrastive,
    flops,
    kl_distillation,
    margin_mse,
    mean_over_processes,
)

NEVER = -1


class TrainingLoss(CachedLossMixin, nn.Module):
    """Ranking losses and FLOPS of both sides, over texts that the collator flattened.

    With ``mini_batch`` the texts go through the model a few at a time, twice (GradCache, arXiv 2101.06983), and the
    loss still sees the whole batch: gradient accumulation whose FLOPS, in-batch negatives and KL are exact.

    Args:
        model: gives ``sentence_embedding``.
        settings: its parts, their weights and the temperature.
        mini_batch: texts a forward pass; ``None`` runs all at once.
        width: number of latents.
        in_batch: labels are scores of every query with every document of the batch, and the KL goes over all of them;
            no other ranking loss goes with it.

    Attributes:
        share: part of the FLOPS weights in force, between 0 and 1; set before each step.
        figures: of the last batch, averaged over processes.
        last_active: number of the batch in which a latent was last active in any text, shape ``[width]``.
        batches: batches seen.
    """

    def __init__(
        self,
        model: SparseEncoder,
        *,
        settings: LossSettings,
        mini_batch: int | None,
        width: int,
        in_batch: bool = False,
    ) -> None:
        super().__init__()
        self.model: Any = model
        self.settings = settings
        self.weights = settings.weights
        self.uses_gradient_cache = mini_batch is not None
        self.mini_batch_size = mini_batch or 0
        if in_batch and self.weights.keys() != {"kl"}:
            raise ValueError(f"with scores of the whole batch there is the KL alone, not {', '.join(self.weights)}")
        self.in_batch = in_batch
        self.share = 1.0
        self.figures: dict[str, float] = {}
        self.last_active: Tensor
        self.register_buffer("last_active", torch.full((width,), NEVER), persistent=False)
        self.batches = 0

    def forward(self, features: Iterable[dict[str, Any]], labels: Tensor) -> Tensor:
        """The loss of a batch.

        Args:
            features: of the queries, and of all their candidates one query after the other.
            labels: teacher scores, shape ``[queries, candidates]``, ``-inf`` where a query has fewer; with
                ``in_batch`` of shape ``[queries, documents]``.
        """
        features = list(features)
        if self.uses_gradient_cache:
            loss: Tensor = self.forward_cached(features, labels)  # type: ignore[operator]
            return loss
        queries, documents = (self.model(side)["sentence_embedding"] for side in features)
        return self.combine(queries, documents, labels)

    def calculate_loss(
        self, reps: list[list[Tensor]], labels: Tensor | None = None, *, with_backward: bool = False
    ) -> Tensor:
        """What GradCache calls with the vectors of all texts."""
        assert labels is not None
        queries, documents = (torch.cat(parts) for parts in reps)
        loss = self.combine(queries, documents, labels)
        if with_backward:
            loss.backward()
        return loss.detach()

    def combine(self, queries: Tensor, documents: Tensor, labels: Tensor) -> Tensor:
        """The loss of a batch's vectors, shape ``[texts, width]`` each; writes :attr:`figures`."""
        # Sums over thousands of latents do not stand the eight bits of a mixed-precision product.
        with torch.autocast(queries.device.type, enabled=False):
            return self._combine(queries.float(), documents.float(), labels)

    def _combine(self, queries: Tensor, documents: Tensor, labels: Tensor) -> Tensor:
        scores = [queries @ documents.T] if self.settings.unpruned else []
        for query_top_k, document_top_k in self.settings.budgets:
            scores.append(keep_top_k(queries, query_top_k) @ keep_top_k(documents, document_top_k).T)
        rankings = [self._ranking(each, labels) for each in scores]
        parts = {name: torch.stack([ranking[name] for ranking in rankings]).mean() for name in rankings[0]}
        query_mean, document_mean = batch_mean(queries), batch_mean(documents)
        parts["flops_query"], parts["flops_document"] = flops(query_mean), flops(document_mean)
        factors = {
            **self.weights,
            "flops_query": self.settings.lambda_query * self.share,
            "flops_document": self.settings.lambda_document * self.share,
        }
        loss = torch.stack([part * factors[name] for name, part in parts.items()]).sum()
        with torch.no_grad():
            self._record(loss, parts, queries, documents, (query_mean + document_mean) > 0)
        return loss

    def _ranking(self, scores: Tensor, labels: Tensor) -> dict[str, Tensor]:
        temperature = self.settings.temperature
        if self.in_batch:
            return {"kl": kl_distillation(scores, labels, temperature=temperature)}
        own, positives = own_candidates(scores, labels)
        parts: dict[str, Tensor] = {}
        if "kl" in self.weights:
            parts["kl"] = kl_distillation(own, labels, temperature=temperature)
        if "margin_mse" in self.weights:
            parts["margin_mse"] = margin_mse(own, labels, temperature=temperature)
        if "contrastive" in self.weights:
            parts["contrastive"] = contrastive(scores, positives, temperature=temperature)
        return parts

    def _record(
        self, loss: Tensor, parts: dict[str, Tensor], queries: Tensor, documents: Tensor, active: Tensor
    ) -> None:
        values = {
            "objective": loss,
            **parts,
            "active_query": (queries > 0).sum(1).float().mean(),
            "active_document": (documents > 0).sum(1).float().mean(),
            "empty_query": (queries.amax(1) <= 0).float().mean(),
            "empty_document": (documents.amax(1) <= 0).float().mean(),
        }
        figures = mean_over_processes(torch.stack([value.float() for value in values.values()]))
        self.figures = dict(zip(values, figures.tolist(), strict=True))
        self.last_active[active] = self.batches
        self.batches += 1

    def dead_latents(self, batches: int) -> int:
        """Latents that no text of the last ``batches`` batches had."""
        return int((self.last_active < max(self.batches - batches, 0)).sum())


def own_candidates(scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The scores of each query with its own candidates, out of those with all documents of the batch.

    Args:
        scores: shape ``[queries, documents]``.
        labels: shape ``[queries, candidates]``; what is finite there has a document.

    Returns:
        scores, shape ``[queries, candidates]``, 0 where there is no candidate; and the column of each query's first
        candidate in ``scores``, shape ``[queries]``.
    """
    present = labels.isfinite()
    counts = present.sum(1)
    first = counts.cumsum(0) - counts
    columns = first[:, None] + torch.arange(labels.shape[1], device=labels.device)
    own = scores.gather(1, columns.clamp(max=scores.shape[1] - 1))
    return own.masked_fill(~present, 0), first
