"""The three ranking losses against numbers made by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import tensor
from torch.nn import functional

from splare_plugins.training.losses import contrastive, kl_distillation, margin_mse
from splare_plugins.training.objective import own_candidates

INF = math.inf


def test_kl_is_the_papers_formula_on_numbers_made_by_hand() -> None:
    # Teacher softmax(log 3, 0) = (3/4, 1/4); student softmax((2 log 2) / 2, 0) = (2/3, 1/3).
    loss = kl_distillation(tensor([[2 * math.log(2), 0.0]]), tensor([[math.log(3), 0.0]]), temperature=2.0)
    assert loss.item() == pytest.approx(0.75 * math.log(0.75 / (2 / 3)) + 0.25 * math.log(0.25 / (1 / 3)), rel=1e-5)


def test_kl_has_no_temperature_on_the_teacher_and_no_square_of_it() -> None:
    torch.manual_seed(0)
    scores, teacher = torch.randn(3, 5) * 100, torch.randn(3, 5)
    p, q = teacher.double().softmax(1), (scores.double() / 80).softmax(1)
    wanted = (p * (p.log() - q.log())).sum(1).mean()
    assert kl_distillation(scores, teacher, temperature=80.0).item() == pytest.approx(wanted.item(), rel=1e-5)


def test_kl_of_queries_with_fewer_candidates_is_that_of_each_alone() -> None:
    torch.manual_seed(1)
    scores = torch.randn(2, 4, requires_grad=True)
    teacher = tensor([[1.0, 0.5, -INF, -INF], [0.2, 0.1, 0.0, 3.0]])
    loss = kl_distillation(scores, teacher, temperature=1.0)
    first = kl_distillation(scores[:1, :2], teacher[:1, :2], temperature=1.0)
    second = kl_distillation(scores[1:], teacher[1:], temperature=1.0)
    assert loss.item() == pytest.approx((first + second).item() / 2, rel=1e-6)
    loss.backward()
    assert scores.grad is not None and bool(scores.grad.isfinite().all())
    assert not scores.grad[0, 2:].any()
    assert bool((scores.grad[0, :2] != 0).all())


def test_margin_mse_compares_margins_and_skips_missing_negatives() -> None:
    scores = tensor([[10.0, 6.0, 99.0], [4.0, 2.0, 0.0]])
    teacher = tensor([[1.0, 0.0, -INF], [3.0, 1.0, 1.0]])
    # Margins / 2: (2), (1, 2); teacher's: (1), (2, 2).
    assert margin_mse(scores, teacher, temperature=2.0).item() == pytest.approx((1 + 1 + 0) / 3)


def test_contrastive_is_cross_entropy_over_the_whole_batch() -> None:
    scores = tensor([[2.0, 0.0, 1.0], [0.0, 4.0, 2.0]])
    wanted = -(tensor([[1.0, 0.0, 0.5]]).log_softmax(1)[0, 0] + tensor([[0.0, 2.0, 1.0]]).log_softmax(1)[0, 2]) / 2
    assert contrastive(scores, tensor([0, 2]), temperature=2.0).item() == pytest.approx(wanted.item(), rel=1e-6)


def test_own_candidates_finds_each_querys_block_of_documents() -> None:
    labels = tensor([[1.0, 1.0, -INF], [1.0, 1.0, 1.0], [1.0, -INF, -INF]])
    scores = torch.arange(18.0).reshape(3, 6)
    own, first = own_candidates(scores, labels)
    assert own.tolist() == [[0.0, 1.0, 0.0], [8.0, 9.0, 10.0], [17.0, 0.0, 0.0]]
    assert first.tolist() == [0, 2, 5]


def test_kl_agrees_with_torch_up_to_the_square_of_the_temperature() -> None:
    torch.manual_seed(2)
    scores, teacher = torch.randn(4, 6), torch.randn(4, 6)
    theirs = functional.kl_div(
        (scores / 3).log_softmax(1), teacher.log_softmax(1), reduction="batchmean", log_target=True
    )
    assert kl_distillation(scores, teacher, temperature=3.0).item() == pytest.approx(theirs.item(), rel=1e-5)
