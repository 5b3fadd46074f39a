"""On a CUDA device; deselected by default, run with ``pytest -m gpu``."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from splare_plugins.model.splare import SplareModel
from splare_plugins.pooling import activate, sae_max_pool, topk_max_pool
from tests.pooling.reference import dense_max_pool
from tests.tiny import TEXTS

pytestmark = pytest.mark.gpu


def test_float32_vectors_equal_those_of_the_cpu(tiny, tiny_folder):
    model = SplareModel.from_pretrained(tiny_folder, device="cuda", dtype="float32")
    mine, reference = model.encode_documents(TEXTS, top_k=None), tiny.encode_documents(TEXTS, top_k=None)
    np.testing.assert_allclose(mine.toarray(), reference.toarray(), atol=1e-3)


def test_bfloat16_is_the_default_and_near(tiny, tiny_folder):
    model = SplareModel.from_pretrained(tiny_folder)
    assert model.backbone.model.dtype == torch.bfloat16
    mine, reference = model.encode_documents(TEXTS), tiny.encode_documents(TEXTS)
    overlap = (mine * reference).sum() / (reference * reference).sum()
    assert overlap == pytest.approx(1, abs=0.1)


def test_pools_and_gradients_equal_those_of_the_cpu():
    torch.manual_seed(0)
    states, weight = torch.randn(40, 16), torch.randn(300, 16)
    offsets, keep = torch.tensor([0, 25, 25, 40]), torch.rand(40) > 0.2
    dense = dense_max_pool(states, weight, offsets, keep)
    on_gpu = [tensor.cuda() for tensor in (states, weight, offsets, keep)]
    torch.testing.assert_close(sae_max_pool(*on_gpu, chunk=64).cpu(), dense, rtol=1e-3, atol=1e-3)
    grads = []
    for tensors in (on_gpu, [states, weight, offsets, keep]):
        h = tensors[0].clone().requires_grad_()
        sae_max_pool(h, *tensors[1:])[[0, 2]].sum().backward()
        assert h.grad is not None
        grads.append(h.grad.cpu())
    torch.testing.assert_close(*grads, rtol=1e-3, atol=1e-2)
    bias = torch.zeros(300)
    topk = [
        topk_max_pool(*pair, 5, *rest)
        for pair, rest in (
            ((states, weight, bias), (offsets, keep)),
            ((on_gpu[0], on_gpu[1], bias.cuda()), on_gpu[2:]),
        )
    ]
    torch.testing.assert_close(topk[1].cpu(), topk[0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("k", [None, 20])
def test_ragged_pools_and_gradients_equal_those_of_the_cpu(dtype, k):
    torch.manual_seed(4)
    lengths = torch.randint(0, 90, (40,))
    offsets = torch.nn.functional.pad(lengths.cumsum(0), (1, 0))
    states, weight, bias = torch.randn(int(offsets[-1]), 64), torch.randn(1000, 64), torch.randn(1000)
    keep = torch.rand(len(states)) > 0.2
    found = []
    for device in ("cuda", "cpu"):
        # The same numbers on both sides; the CPU computes with them in float32.
        kept = dtype if device == "cuda" else torch.float32
        h, w, b = (part.to(dtype).to(device, kept).requires_grad_() for part in (states, weight, bias))
        rest = offsets.to(device), keep.to(device)
        pooled = sae_max_pool(h, w, *rest) if k is None else topk_max_pool(h, w, b, k, *rest)
        weights = activate(pooled, torch.zeros_like(b), torch.zeros_like(b))
        weights.sum().backward()
        assert h.grad is not None
        assert w.grad is not None
        found.append([part.float().cpu() for part in (weights, h.grad, w.grad)])
    # In bfloat16 a near tie may go to another token, and a latent fall out of a token's largest.
    tolerances = (1e-3, 1e-2, 1e-2) if dtype == torch.float32 else (0.2, 0.5, 0.5)
    for mine, theirs, tolerance in zip(*found, tolerances, strict=True):
        assert (mine - theirs).norm() < tolerance * theirs.norm()
