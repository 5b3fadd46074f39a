"""The sparsity term of SPLADE, on the mean over the whole batch however many processes hold a part of it."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, distributed

Schedule = Literal["quadratic", "linear", "constant"]


def batch_mean(weights: Tensor) -> Tensor:
    """Mean weight of each latent over the texts of all processes.

    The square of a mean over few texts holds their variance too, so a penalty on the mean of each process would grow
    with the number of processes. One sum of a vector is enough for the exact one. The gradient is scaled so that the
    average over processes, which data parallelism takes, is that of the whole batch in one process.

    Args:
        weights: of this process's texts, shape ``[texts, width]``.

    Returns:
        float32, shape ``[width]``; the same on all processes.
    """
    total = weights.float().sum(0)
    if processes() == 1:
        return total / len(weights)
    shared = torch.cat([total.detach(), total.new_tensor([len(weights)])])
    distributed.all_reduce(shared)
    mean, texts = shared[:-1] / shared[-1], shared[-1]
    own = total * (processes() / texts)
    # The value is that of all, the gradient goes through what is here.
    return own + (mean - own).detach()


def flops(mean: Tensor) -> Tensor:
    """Sum over latents of the squared mean weight (arXiv 2004.05665), of what :func:`batch_mean` returns."""
    return mean.square().sum()


def warmup(step: int, steps: int, schedule: Schedule) -> float:
    """Share of its final weight that a term has at a step.

    Args:
        step: from 0.
        steps: length of the warm-up; from there on the share is 1.
        schedule: ``"quadratic"`` (arXiv 2004.05665), ``"linear"``, or ``"constant"`` for 1 from the start.
    """
    if schedule == "constant" or step >= steps:
        return 1.0
    ratio = step / steps
    return ratio**2 if schedule == "quadratic" else ratio


def processes() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def mean_over_processes(values: Tensor) -> Tensor:
    """Figures for a log, averaged over processes; no gradient."""
    values = values.detach().clone()
    if processes() > 1:
        distributed.all_reduce(values)
        values /= processes()
    return values
