"""On a CUDA device; deselected by default, run with ``pytest -m gpu``."""

from __future__ import annotations

import pytest
import torch

from splare_plugins.backbone import load_backbone
from tests.backbone.families import LAYER, config_of, load, states_of
from tests.tiny import TEXTS

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def uncompiled():
    """Nothing: here flex attention is compiled, as it is in use."""


def on_cuda(folder, *, dtype=torch.float32, device_map=None, **options):
    return load_backbone(config_of(**options), folder, device=torch.device("cuda"), dtype=dtype, device_map=device_map)


def test_every_family_gives_the_states_of_the_cpu(folder):
    mine = [states.cpu() for states in states_of(on_cuda(folder, layer=LAYER), TEXTS)]
    torch.testing.assert_close(mine, states_of(load(folder, layer=LAYER), TEXTS), rtol=1e-2, atol=1e-2)


def test_gemma2_does_not_run_eagerly(family_folder):
    assert on_cuda(family_folder("gemma2"), layer=LAYER).model.config._attn_implementation != "eager"


@pytest.mark.parametrize("device_map", ["auto", {"embed_tokens": 0, "layers": "cpu", "norm": 0, "rotary_emb": 0}])
def test_a_spread_backbone_gives_the_same_states(family_folder, device_map):
    folder = family_folder("llama")
    spread = on_cuda(folder, layer=LAYER, device_map=device_map)
    assert spread.device.type == "cuda"
    mine = [states.cpu() for states in states_of(spread, TEXTS)]
    torch.testing.assert_close(mine, states_of(load(folder, layer=LAYER), TEXTS), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("quantization", ["8bit", "4bit"])
def test_quantised_weights_run(family_folder, quantization):
    folder = family_folder("wide-llama")
    small = states_of(on_cuda(folder, layer=LAYER, quantization=quantization, dtype=torch.bfloat16), TEXTS)
    usual = torch.cat(states_of(load(folder, layer=LAYER), TEXTS))
    assert (torch.cat(small).float().cpu() - usual).norm() < 0.5 * usual.norm()
