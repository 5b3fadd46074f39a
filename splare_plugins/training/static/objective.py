"""The loss of a table's training."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor
from torch.nn import functional

from splare_plugins.training.losses import batch_mean, flops
from splare_plugins.training.static.ranking import Candidates, divergence, ranking_scores
from splare_plugins.training.static.settings import StaticSettings
from splare_plugins.training.static.teaching import Teaching


class Objective:
    """How far vectors by the table are from what they should be.

    One minus the cosine with the full encoder's vector, a cross-entropy that tells a text's vector from those of its
    batch, the divergences from the rankings by the full encoder and by teachers, and the FLOPS penalty.

    Args:
        settings: weights of the parts.
        targets: vectors of all texts by the full encoder, shape ``(texts, width)``.
        candidates: what is ranked.
        teaching: what teachers say of it, if there are some.
    """

    def __init__(
        self, settings: StaticSettings, targets: csr_array, candidates: Candidates, teaching: Teaching | None
    ) -> None:
        self._settings, self._targets = settings, targets
        self._candidates, self._teaching = candidates, teaching

    def __call__(self, weights: Tensor, texts: np.ndarray, order: np.random.Generator) -> tuple[Tensor, float]:
        """The loss, and the mean cosine.

        Args:
            weights: by the table, shape ``[texts, width]``.
            texts: their numbers.
            order: draws candidates.
        """
        settings = self._settings
        made = functional.normalize(weights, dim=1)
        wanted = functional.normalize(torch.from_numpy(self._targets[texts].toarray()), dim=1)
        cosine = (made * wanted).sum(1).mean()
        contrast = functional.cross_entropy(settings.scale * made @ wanted.T, torch.arange(len(texts)))
        loss = 1 - cosine + settings.contrast * contrast
        if settings.ranking or self._teaching:
            numbers, candidates = self._candidates.draw(texts, order)
            scored = partial(ranking_scores, candidates=candidates, scale=settings.scale, top_k=settings.top_k)
            ours = scored(made)
            if settings.ranking:
                loss = loss + settings.ranking * divergence(ours, scored(wanted))
            if self._teaching:
                loss = loss + settings.teaching * self._teaching.divergence(ours, texts, numbers)
        if settings.flops:
            loss = loss + settings.flops * flops(batch_mean(weights))
        return loss, cosine.item()
