"""The parts of the loss: three that rank, and the sparsity term of SPLADE.

What ranks takes the scores of each query's own candidates, shape ``[queries, candidates]``, the positive first.
Queries may have different numbers of candidates: where a query has none, the teacher's score is ``-inf``. The sparsity
term is that of the mean over the whole batch, however many processes have a part of it.
"""

from __future__ import annotations

import torch
from torch import Tensor, distributed
from torch.nn import functional

from splare_plugins.training.config import Schedule


def kl_distillation(scores: Tensor, teacher: Tensor, *, temperature: float) -> Tensor:
    """``KL(softmax(teacher) || softmax(scores / temperature))``, mean over queries.

    The temperature is the student's alone and its square is not a factor (arXiv 2603.13277, section 3); with such a
    factor, weights of a regulariser would mean something else at every temperature.

    Args:
        scores: of the student, shape ``[queries, candidates]``.
        teacher: scores of the teacher, same shape.
        temperature: of the student.
    """
    present = teacher.isfinite()
    wanted = teacher.float().log_softmax(1)
    given = (scores.float() / temperature).masked_fill(~present, -torch.inf).log_softmax(1)
    # At missing candidates both are -inf, and their difference would be NaN.
    difference = (wanted - given).masked_fill(~present, 0)
    return (wanted.exp() * difference).sum(1).mean()


def margin_mse(scores: Tensor, teacher: Tensor, *, temperature: float) -> Tensor:
    """Squared error of the margins between the positive and each negative (arXiv 2010.02666).

    Args:
        scores: of the student, shape ``[queries, candidates]``; divided by the temperature, since sums over latents
            are on another scale than a teacher's scores.
        teacher: scores of the teacher, same shape.
        temperature: of the student.

    Returns:
        Mean over all negatives.
    """
    present = teacher.isfinite()[:, 1:]
    scores, teacher = scores.float() / temperature, teacher.float()
    ours, theirs = (scores[:, :1] - scores[:, 1:])[present], (teacher[:, :1] - teacher[:, 1:])[present]
    return functional.mse_loss(ours, theirs)


def contrastive(scores: Tensor, positives: Tensor, *, temperature: float) -> Tensor:
    """Cross entropy of the positive among all documents of the batch: own negatives and everybody else's documents.

    Args:
        scores: of every query with every document of the batch, shape ``[queries, documents]``.
        positives: column of each query's positive, shape ``[queries]``.
        temperature: of the student.

    Returns:
        Mean over queries.
    """
    return functional.cross_entropy(scores.float() / temperature, positives)


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
