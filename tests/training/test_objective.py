"""The whole loss against a dense float64 reference, and GradCache against one pass."""

from __future__ import annotations

import copy
import dataclasses
import math

import pytest
import torch
from peft import LoraConfig
from torch import Tensor
from torch.nn import functional

from splare_plugins.heads import SparseAutoencoder
from splare_plugins.st import SplareEncoder
from splare_plugins.training.config import LossSettings
from splare_plugins.training.objective import TrainingLoss
from tests.pooling.reference import dense_max_pool, dense_topk_max_pool
from tests.tiny import TEXTS, tiny_model

TAU, LAMBDA_Q, LAMBDA_D = 5.0, 0.3, 0.2
LABELS = torch.tensor([[2.0, 0.5, -1.0], [1.0, 3.0, -math.inf]])
QUERIES, DOCUMENTS = ["brown fox", "latents?"], [*TEXTS[:4], "states and latents"]
KINDS = {"kl": 0.7, "contrastive": 0.2, "margin_mse": 0.1}
Budgets = tuple[tuple[int, int], ...]


def encoder(k: int | None = None, norm_power: float = 0.0) -> SplareEncoder:
    """A tiny encoder with an adapter that does something already."""
    model = tiny_model(width=256, k=k)
    model.config = dataclasses.replace(model.config, norm_power=norm_power)
    made = SplareEncoder.from_splare(model, device="cpu")
    made.add_adapter(LoraConfig(r=3, lora_alpha=6, target_modules=["query", "value", "dense"]))
    torch.manual_seed(7)
    for name, weight in made.named_parameters():
        if "lora_B" in name:
            weight.data.normal_(std=0.05)
    for weight in model.head.parameters():
        weight.requires_grad = True
    made.eval()  # no dropout
    return made


def features(made: SplareEncoder) -> list[dict[str, Tensor]]:
    return [
        made.preprocess(QUERIES, task="query", prompt="q: "),
        made.preprocess(DOCUMENTS, task="document", prompt="d: "),
    ]


def loss_of(
    made: SplareEncoder,
    mini_batch: int | None = None,
    budgets: Budgets = (),
    unpruned: bool = True,
    sparsity: tuple[float, float] = (LAMBDA_Q, LAMBDA_D),
) -> TrainingLoss:
    flops = dict(zip(("lambda_query", "lambda_document"), sparsity, strict=True))
    return TrainingLoss(
        made,
        settings=LossSettings(**KINDS, temperature=TAU, budgets=budgets, unpruned=unpruned, **flops),
        mini_batch=mini_batch,
        width=256,
    )


def reference(
    made: SplareEncoder,
    norm_power: float,
    budgets: Budgets,
    unpruned: bool = True,
    sparsity: tuple[float, float] = (LAMBDA_Q, LAMBDA_D),
) -> tuple[Tensor, dict[str, Tensor]]:
    """The same loss in float64, dense, written out."""
    double = copy.deepcopy(made).double()
    head = double[1].head.double()
    assert isinstance(head, SparseAutoencoder)
    vectors = []
    for side in features(made):
        mask, keep = side["attention_mask"].bool(), side["keep"].bool()
        states = double[0].backbone.model(input_ids=side["input_ids"], attention_mask=mask.long()).last_hidden_state
        offsets = torch.cat([torch.zeros(1, dtype=torch.int64), mask.sum(1).cumsum(0)])
        packed = states[mask], head.W
        if head.k is None:
            z = dense_max_pool(*packed, offsets, keep[mask]) + head.b
        else:
            z = dense_topk_max_pool(*packed, head.b, head.k, offsets, keep[mask])
        weights = torch.log1p(z.clamp(min=0))
        vectors.append(weights / weights.square().sum(1, keepdim=True) ** (norm_power / 2))
    queries, documents = vectors
    rankings = [reference_ranking(queries, documents)] if unpruned else []
    for query_top_k, document_top_k in budgets:
        rankings.append(reference_ranking(pruned(queries, query_top_k), pruned(documents, document_top_k)))
    flops = [weight * side.mean(0).square().sum() for weight, side in zip(sparsity, vectors, strict=True)]
    loss = torch.stack(rankings).mean() + sum(flops)
    loss.backward()
    return loss, {name: p.grad for name, p in double.named_parameters() if p.grad is not None}


def pruned(vectors: Tensor, top_k: int) -> Tensor:
    return vectors * (vectors >= vectors.sort(dim=1, descending=True).values[:, top_k - 1 : top_k])


def reference_ranking(queries: Tensor, documents: Tensor) -> Tensor:
    scores = queries @ documents.T / TAU
    kl = torch.tensor(0.0, dtype=torch.float64)
    margins = []
    for row, (start, end) in enumerate([(0, 3), (3, 5)]):
        teacher = LABELS[row, : end - start].double()
        own = scores[row, start:end]
        p = teacher.softmax(0)
        kl = kl + (p * (p.log() - own.log_softmax(0))).sum() / 2
        margins.append((own[0] - own[1:]) - (teacher[0] - teacher[1:]))
    return (
        KINDS["kl"] * kl
        + KINDS["margin_mse"] * torch.cat(margins).square().mean()
        + KINDS["contrastive"] * functional.cross_entropy(scores, torch.tensor([0, 3]))
    )


@pytest.mark.parametrize("k", [None, 8])
@pytest.mark.parametrize("mini_batch", [None, 2])
@pytest.mark.parametrize(("norm_power", "budgets"), [(0.0, ()), (0.5, ((7, 20), (3, 9)))])
def test_loss_and_gradients_equal_a_dense_float64_reference(
    k: int | None, mini_batch: int | None, norm_power: float, budgets: Budgets
) -> None:
    made = encoder(k, norm_power)
    wanted, wanted_grads = reference(made, norm_power, budgets)
    loss = loss_of(made, mini_batch, budgets)(features(made), LABELS)
    loss.backward()
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-5)
    compare_gradients(made, wanted_grads)


@pytest.mark.parametrize("mini_batch", [None, 2])
def test_top_k_alone_gives_no_gradient_to_what_it_cuts_and_none_for_sparsity(mini_batch: int | None) -> None:
    made = encoder()
    alone = {"unpruned": False, "sparsity": (0.0, 0.0)}
    wanted, wanted_grads = reference(made, 0.0, ((7, 20),), **alone)
    loss = loss_of(made, mini_batch, ((7, 20),), **alone)(features(made), LABELS)
    loss.backward()
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-5)
    compare_gradients(made, wanted_grads)


def compare_gradients(made: SplareEncoder, wanted_grads: dict[str, Tensor]) -> None:
    grads = {name: p.grad for name, p in made.named_parameters() if p.grad is not None}
    assert grads.keys() == wanted_grads.keys()
    assert any("lora_A" in name for name in grads) and any(name.endswith("head.W") for name in grads)
    for name, grad in grads.items():
        error = (grad.double() - wanted_grads[name]).norm() / wanted_grads[name].norm()
        assert error < 1e-4, f"{name}: {error}"


def test_figures_say_what_the_batch_was() -> None:
    made = encoder()
    loss = loss_of(made)
    loss.share = 0.5
    total = loss(features(made), LABELS)
    vectors = [made(side)["sentence_embedding"] for side in features(made)]
    figures = loss.figures
    assert figures["active_query"] == pytest.approx((vectors[0] > 0).sum(1).float().mean().item())
    assert figures["flops_document"] == pytest.approx(vectors[1].mean(0).square().sum().item(), rel=1e-5)
    parts = sum(KINDS[name] * figures[name] for name in KINDS)
    sparsity = 0.5 * (LAMBDA_Q * figures["flops_query"] + LAMBDA_D * figures["flops_document"])
    assert figures["objective"] == pytest.approx(parts + sparsity, rel=1e-5) == total.item()


def test_a_latent_is_dead_when_no_text_of_the_last_batches_had_it() -> None:
    loss = loss_of(encoder())
    queries, documents = torch.zeros(2, 256), torch.zeros(5, 256)
    queries[:, 3] = documents[:, 4] = 1.0
    loss.combine(queries, documents, LABELS)
    assert loss.dead_latents(1) == loss.dead_latents(5) == 254
    queries[:, 3] = 0.0
    loss.combine(queries, documents, LABELS)
    assert loss.dead_latents(5) == 254
    assert loss.dead_latents(1) == 255
    assert loss.figures["empty_query"] == 1.0
    assert loss.figures["empty_document"] == 0.0
