"""The configs of the paper's models, on tiny random backbones of the same classes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from splare_plugins.config import SideConfig, SplareConfig
from splare_plugins.heads import SparseAutoencoder
from splare_plugins.machine.files import file_sha256
from splare_plugins.model.splare import SplareModel
from splare_plugins.training.config import DataSettings, TrainingConfig
from splare_plugins.training.run import train
from tests.backbone.families import save_family
from tests.tiny import TEXTS

CONFIGS = Path(__file__).parents[2] / "examples" / "configs"


def sae_model(family: str, folder: Path) -> Path:
    """A decoder cut at layer 2, with a random SAE."""
    save_family(family, folder)
    torch.manual_seed(0)
    head = SparseAutoencoder(torch.randn(128, 32) * 0.3, torch.randn(128) * 0.1)
    (folder / "head").mkdir()
    side = SideConfig(max_length=64, top_k=40)
    SplareConfig(
        name=family,
        revision="0",
        backbone="backbone",
        backbone_sha256=file_sha256(*sorted((folder / "backbone").glob("*.safetensors"))),
        layer=2,
        width=128,
        head_sha256=head.save(folder / "head"),
        query=side,
        document=side,
    ).save(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "family"), [("splare-7b", "llama"), ("splare-2b", "gemma2"), ("splade-llama", "llama")]
)
@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing:FutureWarning")
def test_the_papers_models_train(name: str, family: str, examples: Path, tmp_path: Path) -> None:
    if name == "splade-llama":
        base = save_family(family, tmp_path / "base") / "backbone"
    else:
        base = sae_model(family, tmp_path / "base")
    config = dataclasses.replace(
        TrainingConfig.from_yaml(CONFIGS / f"{name}.yaml"),
        model=str(base),
        output=str(tmp_path / "run"),
        data=(DataSettings(source=str(examples)),),
        negatives=3,
        batch_size=8,
        mini_batch=6,
        query_length=24,
        document_length=32,
        steps=3,
        learning_rate=1e-2,
        device="cpu",
        drift_every=1,
    )
    outcome = train(config)
    trained = SplareModel.from_pretrained(outcome.folder, device="cpu")
    assert trained.config.bidirectional
    assert trained.config.adapter == "adapter"
    assert trained.config.head_kind == ("lm" if name == "splade-llama" else "sae")
    before = SplareModel.from_pretrained(base, device="cpu").encode_documents(TEXTS, top_k=None).toarray()
    after = trained.encode_documents(TEXTS, top_k=None).toarray()
    assert np.isfinite(after).all() and after.any()
    assert np.abs(after - before).max() > 1e-3
    assert outcome.figures["drift_cosine"] < 0.99999
