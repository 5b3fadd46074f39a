"""The probe that tells how far latents have moved."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from splare_plugins.training.drift import explained


def test_what_latents_explain_is_the_projection_on_their_rows() -> None:
    generator = torch.Generator().manual_seed(3)
    states, rows = torch.randn(5, 8, generator=generator), torch.randn(20, 8, generator=generator)
    active = [torch.randperm(20, generator=generator)[:number] for number in (0, 1, 3, 7, 12)]
    wanted = 0.0
    for state, latents in zip(states.double().numpy(), active, strict=True):
        chosen = rows[latents].double().numpy().T
        wanted += float(np.square(chosen @ np.linalg.lstsq(chosen, state, rcond=None)[0]).sum())
    found = float(explained(states, rows, active))
    assert found == pytest.approx(wanted / float(states.double().square().sum()), rel=1e-5)


def test_everything_is_explained_by_its_own_row_at_any_scale() -> None:
    rows = torch.eye(4) * torch.tensor([0.1, 1.0, 5.0, 2.0])[:, None]
    states = torch.tensor([[0.0, 3.0, 0.0, 0.0], [0.0, 0.0, 1.0, 2.0]])
    assert float(explained(states, rows, [torch.tensor([1]), torch.tensor([2, 3])])) == pytest.approx(1)
    assert float(explained(states, rows, [torch.tensor([0]), torch.tensor([2])])) == pytest.approx(1 / 14)
