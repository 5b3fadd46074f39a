"""A trained model is usable elsewhere: the machine that it was trained on may lose its backbone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splare_plugins.config import SplareConfig
from splare_plugins.errors import InputError
from splare_plugins.model.splare import SplareModel
from splare_plugins.st import export_stock
from splare_plugins.training.average import average_models
from splare_plugins.training.config import TrainingConfig
from splare_plugins.training.mntp import MntpConfig, mntp
from splare_plugins.training.run import train
from tests.backbone.families import save_family
from tests.hub_server import COMMIT
from tests.model.test_splade import save_random
from tests.tiny import TEXTS
from tests.training.conftest import WORDS

Config = Callable[..., TrainingConfig]


def vectors(folder: Path) -> np.ndarray:
    return SplareModel.from_pretrained(folder, device="cpu").encode_documents(TEXTS, top_k=None).toarray()


@pytest.fixture
def apart(base: Path, tmp_path: Path) -> Path:
    """The base, on a backbone in a folder of its own."""
    folder = shutil.copytree(base, tmp_path / "base")
    (folder / "backbone").rename(tmp_path / "backbone")
    path = folder / "splare_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "backbone": str(tmp_path / "backbone")}))
    return folder


@pytest.mark.slow
def test_a_trained_model_loads_without_the_backbone_it_was_trained_on(
    config: Config, apart: Path, tmp_path: Path
) -> None:
    outcome = train(config(model=str(apart), steps=2))
    weights = outcome.folder / "backbone" / "model.safetensors"
    assert weights.samefile(tmp_path / "backbone" / "model.safetensors")
    wanted = vectors(outcome.folder)
    (tmp_path / "backbone").rename(tmp_path / "gone")
    shutil.rmtree(apart)
    moved = shutil.move(outcome.folder, tmp_path / "elsewhere")
    assert np.array_equal(vectors(moved), wanted)
    assert SplareConfig.load(moved).backbone == "backbone"
    assert "in this folder" in (moved / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_backbone_may_be_left_where_it_lies(config: Config, apart: Path, tmp_path: Path) -> None:
    outcome = train(config(model=str(apart), steps=2, copy_backbone=False))
    assert outcome.config.backbone == str(tmp_path / "backbone")
    assert not (outcome.folder / "backbone").exists()
    wanted = vectors(outcome.folder)
    average_models([outcome.folder, outcome.folder], tmp_path / "mean")
    SplareModel.from_pretrained(outcome.folder, device="cpu").save_pretrained(tmp_path / "saved")
    (tmp_path / "backbone").rename(tmp_path / "gone")
    with pytest.raises(InputError, match=r"stands on the backbone in .*, a folder that is not here"):
        vectors(outcome.folder)
    assert np.array_equal(vectors(tmp_path / "saved"), wanted)
    np.testing.assert_allclose(vectors(tmp_path / "mean"), wanted, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("copied", [True, False])
def test_so_is_one_of_masked_tokens(tmp_path: Path, copied: bool) -> None:
    model = save_family("llama", tmp_path / "base") / "backbone"
    rows = [{"_id": f"d{n}", "text": f"a text about {word} and {word}"} for n, word in enumerate(WORDS)]
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings: dict[str, Any] = {"length": 32, "steps": 2, "batch_size": 4, "device": "cpu", "copy_backbone": copied}
    places = {"model": str(model), "texts": str(tmp_path / "texts.jsonl"), "output": str(tmp_path / "run")}
    mntp(MntpConfig(**places, **settings))
    wanted = vectors(tmp_path / "run" / "model")
    model.rename(tmp_path / "gone")
    if copied:
        assert np.array_equal(vectors(tmp_path / "run" / "model"), wanted)
    else:
        with pytest.raises(InputError, match="a folder that is not here"):
            vectors(tmp_path / "run" / "model")


@pytest.mark.slow
def test_a_splade_model_of_a_hub_is_named_by_id_and_commit(hub_server: Any, config: Config, tmp_path: Path) -> None:
    save_random(hub_server.root / "org" / "splade", "BertForMaskedLM")
    outcome = train(config(model="org/splade", steps=2, query_length=16, document_length=16))
    assert (outcome.config.backbone, outcome.config.backbone_revision) == ("org/splade", COMMIT)
    assert not (outcome.folder / "backbone").exists()
    assert vectors(outcome.folder).any()
    model = SplareModel.load(outcome.folder, device="cpu")
    export_stock(model, tmp_path / "stock")  # the whole model is found on the hub again
    assert (tmp_path / "stock" / "modules.json").is_file()


@pytest.mark.slow
@pytest.mark.model
def test_a_built_in_model_is_named(config: Config, examples: Path) -> None:
    settings = {"steps": 3, "batch_size": 2, "query_length": 8, "document_length": 8, "drift_every": 0}
    outcome = train(config(model="splare-e5-small-zero-shot", **settings))
    assert outcome.config.backbone == "splare-e5-small-zero-shot"
    assert not (outcome.folder / "backbone").exists()
    found = vectors(outcome.folder)
    base = SplareModel.from_pretrained("splare-e5-small-zero-shot", device="cpu")
    assert np.abs(found - base.encode_documents(TEXTS, top_k=None).toarray()).max() > 1e-3
    SplareModel.from_pretrained(outcome.folder, device="cpu").save_pretrained(outcome.folder.parent / "saved")
    assert np.array_equal(vectors(outcome.folder.parent / "saved"), found)
