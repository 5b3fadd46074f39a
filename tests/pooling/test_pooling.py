from __future__ import annotations

import pytest
import torch

from splare_plugins.pooling import activate, padded, sae_max_pool, topk_max_pool
from tests.pooling.reference import dense_max_pool, dense_topk_max_pool

LENGTHS = [5, 1, 0, 7, 3]
WIDTH, SIZE = 37, 6


@pytest.fixture(autouse=True, params=["slices", "padded"])
def way(request, monkeypatch):
    """Every test runs with both ways of pooling, whatever the device."""
    monkeypatch.setattr(padded, "serves", lambda states: request.param == "padded")


@pytest.fixture
def packed() -> tuple[torch.Tensor, ...]:
    torch.manual_seed(1)
    offsets = torch.tensor([0, *torch.tensor(LENGTHS).cumsum(0).tolist()])
    states = torch.randn(sum(LENGTHS), SIZE, dtype=torch.float64)
    keep = torch.rand(len(states)) > 0.3
    keep[5] = False  # the second text has one token, which is dropped
    return (
        states,
        torch.randn(WIDTH, SIZE, dtype=torch.float64),
        torch.randn(WIDTH, dtype=torch.float64),
        offsets,
        keep,
    )


@pytest.mark.parametrize("chunk", [1, 5, 37, 1000, None])
def test_chunked_pool_equals_the_dense_definition(packed, chunk):
    states, weight, _, offsets, keep = packed
    torch.testing.assert_close(
        sae_max_pool(states, weight, offsets, keep, chunk=chunk), dense_max_pool(states, weight, offsets, keep)
    )


@pytest.mark.parametrize("chunk", [1, 5, 37, None])
@pytest.mark.parametrize("k", [1, 4, 37, 99])
def test_two_pass_topk_equals_the_dense_definition(packed, chunk, k):
    states, weight, bias, offsets, keep = packed
    fast = topk_max_pool(states, weight, bias, k, offsets, keep, chunk=chunk).clamp(min=0)
    dense = dense_topk_max_pool(states, weight, bias, k, offsets, keep).clamp(min=0)
    torch.testing.assert_close(fast, dense)


@pytest.mark.parametrize("topk", [None, 4])
def test_gradients_equal_those_of_the_dense_definition(packed, topk):
    states, weight, bias, offsets, keep = packed
    theta = torch.full((WIDTH,), 0.1, dtype=torch.float64)
    mix = torch.randn(len(LENGTHS), WIDTH, dtype=torch.float64)
    grads = []
    for fast in (True, False):
        h, w, b = (tensor.clone().requires_grad_() for tensor in (states, weight, bias))
        if topk is None:
            pooled = (sae_max_pool if fast else dense_max_pool)(h, w, offsets, keep)
            weights = activate(pooled, b, theta)
        else:
            pooled = (topk_max_pool if fast else dense_topk_max_pool)(h, w, b, topk, offsets, keep)
            weights = activate(pooled, torch.zeros_like(b), theta)
        (weights.double() * mix).sum().backward()
        grads.append((h.grad, w.grad, b.grad))
    for mine, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)


def test_numerical_gradient(packed):
    states, weight, _, offsets, keep = packed
    h, w = states.clone().requires_grad_(), weight[:9].clone().requires_grad_()
    kept = [0, 3, 4]  # texts without a kept token are -inf, which has no numerical gradient
    assert torch.autograd.gradcheck(lambda h, w: sae_max_pool(h, w, offsets, keep, chunk=4)[kept], (h, w))


def test_texts_without_a_kept_token_are_minus_infinity_and_activate_to_zero(packed):
    states, weight, bias, offsets, keep = packed
    pooled = sae_max_pool(states, weight, offsets, keep)
    assert torch.isneginf(pooled[[1, 2]]).all()
    assert not activate(pooled, bias, torch.zeros_like(bias))[[1, 2]].any()


def test_the_gradient_of_a_tie_goes_to_the_first_token():
    states = torch.ones(3, 2, requires_grad=True)
    pooled = sae_max_pool(states, torch.ones(1, 2), torch.tensor([0, 3]), torch.ones(3, dtype=torch.bool))
    pooled.sum().backward()
    assert states.grad is not None
    assert states.grad.tolist() == [[1, 1], [0, 0], [0, 0]]


def test_non_contiguous_states_and_bfloat16(packed):
    states, weight, _, offsets, keep = packed
    turned = states.T.contiguous().T
    torch.testing.assert_close(
        sae_max_pool(turned, weight, offsets, keep), sae_max_pool(states, weight, offsets, keep)
    )
    low = sae_max_pool(states.bfloat16(), weight.bfloat16(), offsets, keep)
    assert low.dtype == torch.float32
    dense = dense_max_pool(states, weight, offsets, keep).float()
    torch.testing.assert_close(low, dense, rtol=0.05, atol=0.1)


def test_activation_is_the_jump_relu_then_log1p():
    pooled = torch.tensor([[-1.0, 0.4, 0.6, 3.0]])
    theta = torch.tensor([0.0, 0.5, 0.5, 0.0])
    expected = torch.tensor([[0.0, 0.0, 0.6, 3.0]]).log1p()
    torch.testing.assert_close(activate(pooled, torch.zeros(4), theta), expected)


@pytest.mark.parametrize("k", [None, 4])
def test_a_gradient_into_what_was_never_pooled_reaches_no_other_text(packed, k):
    states, weight, bias, offsets, keep = packed
    h, w, b = (tensor.clone().requires_grad_() for tensor in (states, weight, bias))
    pooled = sae_max_pool(h, w, offsets, keep) if k is None else topk_max_pool(h, w, b, k, offsets, keep)
    pooled[[1, 2]].backward(torch.ones(2, WIDTH, dtype=torch.float64))
    assert h.grad is not None
    assert w.grad is not None
    assert not h.grad.any()
    assert not w.grad.any()


def test_only_the_gradients_asked_for_are_made(packed):
    states, weight, bias, offsets, keep = packed
    for wanted in ([0], [1], [2], [0, 2]):
        parts = [part.clone().requires_grad_(number in wanted) for number, part in enumerate((states, weight, bias))]
        topk_max_pool(*parts, 4, offsets, keep)[[0, 3]].clamp(min=0).sum().backward()
        assert [number for number, part in enumerate(parts) if part.grad is not None] == wanted
    assert not sae_max_pool(states, weight, offsets, keep).requires_grad


def test_bfloat16_gradients_are_near_and_keep_their_dtype(packed):
    states, weight, _, offsets, keep = packed
    grads = []
    for dtype in (torch.bfloat16, torch.float64):
        # The same numbers on both sides, so that only the arithmetic differs.
        h, w = (tensor.bfloat16().to(dtype).requires_grad_() for tensor in (states, weight))
        sae_max_pool(h, w, offsets, keep)[[0, 3, 4]].square().sum().backward()
        assert h.grad is not None
        assert w.grad is not None
        assert h.grad.dtype == w.grad.dtype == dtype
        grads.append((h.grad.double(), w.grad.double()))
    for low, exact in zip(*grads, strict=True):
        assert (low - exact).norm() < 0.05 * exact.norm()


@pytest.mark.parametrize("budget", [1, 10_000])
@pytest.mark.parametrize("k", [None, 20])
def test_slices_of_latents_and_of_pairs_change_nothing(monkeypatch, budget, k):
    monkeypatch.setattr(padded, "BUDGET", budget)
    torch.manual_seed(3)
    lengths = torch.randint(0, 40, (12,))
    offsets = torch.nn.functional.pad(lengths.cumsum(0), (1, 0))
    states, weight, bias = (
        torch.randn(*shape, dtype=torch.float64) for shape in ((int(offsets[-1]), 5), (600, 5), (600,))
    )
    keep = torch.rand(len(states)) > 0.2
    grads = []
    for fast in (True, False):
        h, w, b = (tensor.clone().requires_grad_() for tensor in (states, weight, bias))
        if k is None:
            pooled = (sae_max_pool if fast else dense_max_pool)(h, w, offsets, keep)
        else:
            pooled = (topk_max_pool if fast else dense_topk_max_pool)(h, w, b, k, offsets, keep)
        weights = activate(pooled, torch.zeros_like(b), torch.zeros_like(b))
        weights.square().sum().backward()
        grads.append((weights, h.grad, w.grad))
    for mine, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)


def test_no_texts_and_no_tokens():
    keep = torch.ones(0, dtype=torch.bool)
    for offsets in (torch.tensor([0]), torch.tensor([0, 0, 0])):
        pooled = sae_max_pool(torch.ones(0, 3), torch.ones(5, 3), offsets, keep)
        assert pooled.shape == (len(offsets) - 1, 5)
        assert torch.isneginf(pooled).all()


def test_padding_costs_at_most_a_third_of_the_tokens():
    lengths = torch.tensor([512, 1, 300, 2, 0, 40, 31, 400, 7, 90, 1])
    blocks = list(padded._blocks(torch.nn.functional.pad(lengths.cumsum(0), (1, 0))))
    assert sorted(number for texts, _ in blocks for number in texts.tolist()) == [0, 1, 2, 3, 5, 6, 7, 8, 9, 10]
    assert sum(tokens.numel() for _, tokens in blocks) <= 4 / 3 * int(lengths.sum())


def test_extra_memory_is_tokens_times_chunk_not_tokens_times_width():
    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            result = func(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor):
                largest = max(largest, result.numel())
            return result

    states, weight = torch.randn(600, 8), torch.randn(4096, 8)
    with Watch():
        sae_max_pool(states, weight, torch.tensor([0, 300, 600]), torch.ones(600, dtype=torch.bool), chunk=64)
    assert largest <= max(600 * 64, 4096 * 8)
