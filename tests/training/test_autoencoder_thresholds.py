"""BatchTopK and JumpReLU SAEs: what SAELens trains under the same loop as TopK's, and the head that it becomes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from splare_plugins.config import HEAD_CARD
from splare_plugins.heads.record import TENSORS
from splare_plugins.machine.files import read_json
from splare_plugins.machine.quiet import importing_saelens
from splare_plugins.training.autoencoder.run import train_sae
from splare_plugins.training.autoencoder.settings import SaeSettings
from tests.training.test_autoencoder import Killed, corpus, opened, settings  # noqa: F401

KINDS = ("batchtopk", "jumprelu")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, settings: SaeSettings) -> SaeSettings:  # noqa: F811
    return replace(settings, activation=request.param)


def test_a_killed_run_goes_on_to_the_same_bits(kind: SaeSettings, corpus: Path, tmp_path: Path) -> None:  # noqa: F811
    train_sae(kind, corpus, tmp_path / "whole", device="cpu")
    done: list[int] = []

    def kill(tokens: int) -> None:
        done.append(tokens)
        if len(done) == 17:
            raise Killed

    with pytest.raises(Killed):
        train_sae(kind, corpus, tmp_path / "sae", device="cpu", save_seconds=0, on_progress=kill)
    again: list[int] = []
    train_sae(kind, corpus, tmp_path / "sae", device="cpu", on_progress=again.append)
    assert sum(again) == kind.tokens
    assert len(again) < kind.steps
    whole, parts = (load_file(tmp_path / name / TENSORS) for name in ("whole", "sae"))
    assert all(torch.equal(whole[name], parts[name]) for name in ("W", "b", "theta"))
    assert read_json(tmp_path / "whole" / HEAD_CARD) == read_json(tmp_path / "sae" / HEAD_CARD)
    train_sae(replace(kind, seed=4), corpus, tmp_path / "other", device="cpu")
    assert not torch.equal(load_file(tmp_path / "other" / TENSORS)["W"], whole["W"])


@pytest.mark.parametrize("factor", [1.0, 1e3])
def test_the_head_is_the_library_s_autoencoder(
    kind: SaeSettings,
    corpus: Path,  # noqa: F811
    tmp_path: Path,
    factor: float,
) -> None:
    with importing_saelens():
        from sae_lens import SAE

    from splare_plugins.training.autoencoder.thresholds import ThresholdLearner

    states = opened(kind, corpus).read(1000).detach() * factor
    learner = ThresholdLearner(states.shape[1], kind, states.device)
    learner.begin(states)
    for batch in states[:768].split(128):
        learner.step(batch)
    learner.finish()
    head = learner.head(tmp_path, kind.layer)
    library = SAE.load_from_disk(tmp_path)
    assert library.cfg.architecture() == "jumprelu"
    with torch.no_grad():
        expected, rebuilt = library.encode(states), library(states)
    found = head.activate(head.token_values(states)).expm1()
    assert float(found.max()) > 0
    scale = float(expected.max())
    assert torch.allclose(found / scale, expected / scale, atol=1e-5)
    measured = learner.measure(states)
    lost = (states - rebuilt).square().sum() / (states - states.mean(0)).square().sum()
    assert measured.explained == pytest.approx(1 - float(lost), abs=1e-4)
    assert measured.l0 == pytest.approx(float((expected > 0).sum(1).float().mean()), abs=0.05)


def test_what_comes_out_fires_k_times_in_the_mean(kind: SaeSettings, corpus: Path, tmp_path: Path) -> None:  # noqa: F811
    head = train_sae(kind, corpus, tmp_path / "sae", device="cpu")
    card = read_json(tmp_path / "sae" / HEAD_CARD)
    assert (head.k, card["activation"], card["trained_as"], card["trained_k"]) == (
        None,
        "jumprelu",
        kind.activation,
        4,
    )
    assert card["explained_variance"] > card["explained_untrained"] + 0.1
    assert 2 < card["l0"] < 8
    assert card["published_l0"] == card["l0"]
    assert bool((head.theta > 0).all())
    assert card["source"].startswith("splare sae train (sae-lens ")
