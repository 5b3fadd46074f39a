"""Averaged and merged adapters against the sums they stand for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from splare_plugins.errors import InputError
from splare_plugins.model.splare import SplareModel
from splare_plugins.training.average import average_models, merge_model
from splare_plugins.training.config import TrainingConfig
from splare_plugins.training.run import train
from tests.tiny import TEXTS
from tests.training.conftest import Settings

Runs = list[Path]


@pytest.fixture
def runs(settings: Settings, tmp_path: Path) -> Runs:
    """Three runs from one base, with different seeds, ranks and layers."""
    options = [{}, {"lora": {"rank": 3, "alpha": 9.0}}, {"lora": {"rank": 4, "last_layers": 1}}]
    return [
        train(
            TrainingConfig.from_dict(
                settings(**each, seed=seed, steps=3, learning_rate=0.03, output=str(tmp_path / f"run-{seed}"))
            )
        ).folder
        for seed, each in enumerate(options)
    ]


def changes(folder: Path) -> dict[str, Tensor]:
    """What an adapter adds to each weight, float64."""
    settings = json.loads((folder / "adapter" / "adapter_config.json").read_text())
    tensors = load_file(folder / "adapter" / "adapter_model.safetensors")
    return {
        key.removesuffix(".lora_A.weight"): settings["lora_alpha"]
        / settings["r"]
        * (tensors[key.replace("lora_A", "lora_B")].double() @ tensors[key].double())
        for key in tensors
        if "lora_A" in key
    }


def backbone_weights(model: SplareModel) -> dict[str, Tensor]:
    return {name: value.double() for name, value in model.backbone.model.state_dict().items()}


@pytest.mark.slow
def test_the_average_is_exact(runs: Runs, base: Path, tmp_path: Path) -> None:
    config = average_models(runs, tmp_path / "mean")
    averaged = SplareModel.from_pretrained(tmp_path / "mean", device="cpu")
    assert averaged.config == config
    before = backbone_weights(SplareModel.from_pretrained(base, device="cpu"))
    mean: dict[str, Tensor] = {}
    for folder in runs:
        for module, change in changes(folder).items():
            name = module.removeprefix("base_model.model.") + ".weight"
            mean[name] = mean.get(name, torch.zeros_like(change)) + change / 3
    after = backbone_weights(averaged)
    assert {name for name in after if not torch.equal(after[name], before[name])} == mean.keys()
    for name, wanted in mean.items():
        written = (after[name] - before[name] - wanted).norm() / before[name].norm()
        assert written < 1e-6, name
    exact = changes_of_patterns(tmp_path / "mean")
    for name, wanted in mean.items():
        error = (exact[name] - wanted).norm() / wanted.norm()
        assert error < 1e-6, name


@pytest.mark.slow
def test_trained_biases_and_gains_are_averaged_too(
    runs: Runs, base: Path, tmp_path: Path, settings: Callable[..., dict[str, object]]
) -> None:
    folders = [runs[0]]
    for head in ("bias", "calibration"):
        output = str(tmp_path / head)
        options = settings(head=head, steps=3, learning_rate=0.03, output=output)
        folders.append(train(TrainingConfig.from_dict(options)).folder)
    config = average_models(folders, tmp_path / "mean")
    averaged, *heads = (SplareModel.from_pretrained(each, device="cpu").head for each in (tmp_path / "mean", *folders))
    assert config.head_sha256 not in {
        json.loads((each / "splare_config.json").read_text())["head_sha256"] for each in folders
    }
    for name in ("W", "b"):
        parts = [head.state_dict()[name] for head in heads]
        assert len({part.sum().item() for part in parts}) > 1, name
        torch.testing.assert_close(averaged.state_dict()[name], torch.stack(parts).mean(0), rtol=1e-6, atol=1e-7)


def changes_of_patterns(folder: Path) -> dict[str, Tensor]:
    """As :func:`changes`, for an adapter whose scale is 1 everywhere."""
    tensors = load_file(folder / "adapter" / "adapter_model.safetensors")
    return {
        key.removeprefix("base_model.model.").replace(".lora_A.weight", ".weight"): tensors[
            key.replace("lora_A", "lora_B")
        ].double()
        @ tensors[key].double()
        for key in tensors
        if "lora_A" in key
    }


@pytest.mark.slow
def test_svd_of_full_rank_is_exact_and_of_a_lower_one_the_best(runs: Runs, tmp_path: Path) -> None:
    average_models(runs[:2], tmp_path / "cat")
    average_models(runs[:2], tmp_path / "full", method="svd", rank=7)
    average_models(runs[:2], tmp_path / "low", method="svd", rank=2)
    cat, full, low = (changes_of_patterns(tmp_path / name) for name in ("cat", "full", "low"))
    for name, wanted in cat.items():
        assert (full[name] - wanted).norm() / wanted.norm() < 1e-6
        left, values, right = torch.linalg.svd(wanted)
        best = left[:, :2] * values[:2] @ right[:2]
        torch.testing.assert_close(low[name], best, rtol=1e-4, atol=1e-6)
    SplareModel.from_pretrained(tmp_path / "low", device="cpu")


@pytest.mark.slow
def test_a_merged_model_gives_the_same_vectors(runs: Runs, tmp_path: Path) -> None:
    config = merge_model(runs[0], tmp_path / "merged")
    assert config.adapter is None
    ours, theirs = (SplareModel.from_pretrained(folder, device="cpu") for folder in (tmp_path / "merged", runs[0]))
    difference = ours.encode_documents(TEXTS, top_k=None) - theirs.encode_documents(TEXTS, top_k=None)
    assert np.abs(difference.toarray()).max() < 1e-5
    with pytest.raises(InputError, match="has no adapter to merge"):
        merge_model(tmp_path / "merged", tmp_path / "again")
    with pytest.raises(InputError, match="holds another model already"):
        merge_model(runs[0], tmp_path / "merged")


@pytest.mark.slow
def test_what_cannot_be_averaged_is_refused(
    runs: Runs, base: Path, tmp_path: Path, settings: Callable[..., dict[str, object]]
) -> None:
    with pytest.raises(InputError, match="two models at least"):
        average_models(runs[:1], tmp_path / "out")
    with pytest.raises(InputError, match="has no adapter; runs are averaged before"):
        average_models([runs[0], base], tmp_path / "out")
    with pytest.raises(InputError, match="goes with the method svd"):
        average_models(runs, tmp_path / "out", rank=4)
    other = TrainingConfig.from_dict(settings(head="all", steps=3, learning_rate=0.3, output=str(tmp_path / "other")))
    with pytest.raises(InputError, match="differ in more than biases and gains"):
        average_models([runs[0], train(other).folder], tmp_path / "out")
    path = runs[1] / "adapter" / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "use_dora": True}))
    with pytest.raises(InputError, match="uses use_dora, which is not averaged"):
        average_models(runs[:2], tmp_path / "out")
    assert not (tmp_path / "out").exists()
