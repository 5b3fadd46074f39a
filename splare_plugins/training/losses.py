"""What a student's scores are compared with: a teacher's scores, or a judgement.

All three losses take the scores of each query's own candidates, shape ``[queries, candidates]``, the positive first.
Queries may have different numbers of candidates: where a query has none, the teacher's score is ``-inf``.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def kl_distillation(scores: Tensor, teacher: Tensor, *, temperature: float) -> Tensor:
    """``KL(softmax(teacher) || softmax(scores / temperature))``, mean over queries.

    The temperature is the student's alone and its square is no factor (arXiv 2603.13277, section 3); with such a
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
