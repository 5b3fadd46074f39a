from __future__ import annotations

import json

import pytest
import torch

from splare_plugins.errors import InputError
from splare_plugins.heads import SparseAutoencoder, load_head
from splare_plugins.heads.record import TENSORS


def random_sae(**options) -> SparseAutoencoder:
    torch.manual_seed(0)
    return SparseAutoencoder(torch.randn(20, 4), torch.randn(20), torch.rand(20), **options)


def one_text(tokens: int = 6):
    torch.manual_seed(1)
    return torch.randn(tokens, 4), torch.tensor([0, tokens]), torch.ones(tokens, dtype=torch.bool)


@pytest.mark.parametrize("k", [None, 3])
def test_a_saved_head_loads_to_the_same_weights(tmp_path, k):
    head = random_sae(k=k, card={"source": "random"})
    sha256 = head.save(tmp_path)
    loaded = load_head("sae", tmp_path, sha256=sha256)
    assert torch.equal(loaded(*one_text()), head(*one_text()))
    assert isinstance(loaded, SparseAutoencoder)
    assert loaded.card["source"] == "random"


def test_a_head_with_another_hash_is_refused(tmp_path):
    random_sae().save(tmp_path)
    with pytest.raises(InputError, match="does not have the hash"):
        SparseAutoencoder.load(tmp_path, sha256="0" * 64)


def test_a_truncated_head_is_refused(tmp_path):
    random_sae().save(tmp_path)
    path = tmp_path / TENSORS
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match="complete SAE head"):
        SparseAutoencoder.load(tmp_path)


def test_a_head_without_its_card_is_refused(tmp_path):
    random_sae().save(tmp_path)
    (tmp_path / "head.json").write_text(json.dumps({"kind": "sae"}))
    with pytest.raises(InputError, match="complete SAE head"):
        SparseAutoencoder.load(tmp_path)


def test_unknown_kinds_are_refused(tmp_path):
    with pytest.raises(InputError, match="unknown head kind 'nmf'"):
        load_head("nmf", tmp_path)


@pytest.mark.parametrize(
    ("W", "b", "theta", "k", "message"),
    [
        (torch.zeros(3, 2), torch.zeros(2), None, None, "needs W"),
        (torch.zeros(3, 2), torch.zeros(3), torch.tensor([0.0, -1, 0]), None, "thresholds"),
        (torch.full((3, 2), torch.nan), torch.zeros(3), None, None, "NaN"),
        (torch.zeros(3, 2), torch.zeros(3), None, 0, "at least 1"),
    ],
)
def test_impossible_records_are_refused(W, b, theta, k, message):
    with pytest.raises(InputError, match=message):
        SparseAutoencoder(W, b, theta, k=k)


def test_calibration_folds_into_the_record():
    torch.manual_seed(0)
    head = SparseAutoencoder(torch.randn(20, 4), torch.randn(20))
    center, gain = torch.randn(20), torch.rand(20) + 0.5
    states, offsets, keep = one_text()
    z = (states @ head.W.T + head.b - center) * gain
    expected = torch.log1p(torch.relu(z)).amax(0, keepdim=True)
    torch.testing.assert_close(head.calibrated(center, gain)(states, offsets, keep), expected)


def test_calibration_refuses_what_it_would_distort():
    gain = torch.ones(20)
    with pytest.raises(InputError, match="plain ReLU"):
        random_sae().calibrated(torch.zeros(20), gain)
    with pytest.raises(InputError, match="positive"):
        SparseAutoencoder(torch.randn(20, 4), torch.randn(20)).calibrated(torch.zeros(20), -gain)


@pytest.mark.parametrize("k", [None, 3])
def test_a_text_has_the_largest_of_what_its_tokens_alone_would_give(k, monkeypatch):
    monkeypatch.setattr("splare_plugins.heads.base._TOKENS_AT_ONCE", 2)
    head = SparseAutoencoder(torch.randn(20, 4), torch.randn(20), k=k)
    states, offsets, keep = one_text()
    whole = head(states, offsets, keep)[0]
    latents = torch.cat([whole.nonzero().squeeze(1).flip(0), (whole == 0).nonzero().squeeze(1)])
    weights = head.token_weights(states, latents)
    assert weights.shape == (len(states), 20)
    torch.testing.assert_close(weights.amax(0), whole[latents])
    z = states @ head.W.T + head.b
    if k is not None:
        z = torch.where(z >= z.topk(k, dim=1).values[:, -1:], z, 0)
    torch.testing.assert_close(weights, z[:, latents].relu().log1p())
