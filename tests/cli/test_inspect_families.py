"""``splare sae inspect`` measures on the causal backbone as published, whatever its family."""

from __future__ import annotations

import pytest
import torch

from splare_plugins.heads import SparseAutoencoder
from tests.backbone.families import DECODERS, LAYER, save_family, whole_states

TEXT = "abcdefghijklmnopqrstuvwxyz"


@pytest.mark.parametrize("name", DECODERS)
def test_the_measured_l0_is_that_of_the_whole_causal_model(splare, tmp_path, name):
    folder = save_family(name, tmp_path)
    torch.manual_seed(0)
    W, theta = torch.randn(100, 32), torch.full((100,), 5.0)
    card = {"layer": LAYER, "layers_needed": LAYER + 1}
    (folder / "sae").mkdir()
    SparseAutoencoder(W, torch.zeros(100), theta, card=card).save(folder / "sae")
    outcome = splare("sae", "inspect", folder / "sae", "--backbone", folder / "backbone", "--text", TEXT, "--json")
    own = whole_states(folder, TEXT, LAYER, causal=True)[1:-1]  # the byte tokenizer's [CLS] and [SEP] are not counted
    assert outcome.facts["measured_l0"] == pytest.approx(float((own @ W.T > theta).sum(1).float().mean()), abs=0.051)
