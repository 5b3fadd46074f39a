"""FLOPS of the whole batch, however many processes hold a part of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import multiprocessing

from splare_plugins.training.losses import batch_mean, flops, warmup
from tests.training.ranks import Encoder, all_inputs, gradient, work


def test_flops_is_the_sum_of_squared_means() -> None:
    weights = torch.tensor([[1.0, 0.0, 2.0], [3.0, 0.0, 0.0]])
    assert batch_mean(weights).tolist() == [2.0, 0.0, 1.0]
    assert flops(batch_mean(weights)).item() == 5.0


@pytest.mark.slow
def test_the_gradient_is_the_same_with_1_2_and_4_processes(tmp_path: Path) -> None:
    loss, grad = gradient(Encoder(), all_inputs())
    # Forked: four fresh interpreters that import torch take half a minute.
    multiprocessing.start_processes(work, args=(str(tmp_path),), nprocs=4, start_method="fork")
    found = torch.load(tmp_path / "found.pt", weights_only=True)
    assert found.keys() == {"4-True", "4-False", "2-True", "2-False"}
    for name, value in found.items():
        assert value[0].item() == pytest.approx(loss, rel=1e-6), name
        torch.testing.assert_close(value[1:].view_as(grad), grad, rtol=1e-5, atol=1e-7, msg=name)
    # A penalty on each process's own mean would be another one.
    local = torch.stack([flops(batch_mean(Encoder()(part))) for part in all_inputs().chunk(4)]).mean().item()
    assert local > 1.05 * loss


def test_warmup_rises_to_one_and_stays_there() -> None:
    assert [warmup(step, 4, "quadratic") for step in (0, 2, 4, 9)] == [0.0, 0.25, 1.0, 1.0]
    assert [warmup(step, 4, "linear") for step in (0, 1, 4)] == [0.0, 0.25, 1.0]
    assert warmup(0, 4, "constant") == 1.0
    assert warmup(0, 0, "quadratic") == 1.0
