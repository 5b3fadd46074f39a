"""Whole runs on a tiny model: what they write, how they go on, how they stop."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from splare_plugins.errors import InputError, SplareError
from splare_plugins.model.splare import SplareModel
from splare_plugins.training.config import TrainingConfig
from splare_plugins.training.folder import require_same_data
from splare_plugins.training.run import last_checkpoint, train
from splare_plugins.training.student import load_student
from splare_plugins.training.trainer import TRAINED, trained_weights
from tests.tiny import TEXTS
from tests.training.conftest import Settings

Config = Callable[..., TrainingConfig]


def log(folder: str | Path) -> list[dict[str, Any]]:
    lines = (Path(folder) / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [row for row in map(json.loads, lines) if "objective" in row]


def curve(folder: str | Path) -> list[tuple[int, float, float]]:
    return [(row["step"], row["objective"], row["grad_norm"]) for row in log(folder)]


def vectors(model: SplareModel) -> list[np.ndarray]:
    both = model.encode_queries(TEXTS, top_k=None), model.encode_documents(TEXTS, top_k=None)
    return [side.toarray() for side in both]


def in_training(config: TrainingConfig) -> SplareModel:
    """The model as it stood at the last checkpoint, made without the folder that the run wrote."""
    student = load_student(config, device="cpu")
    checkpoint = last_checkpoint(Path(config.output))
    assert checkpoint is not None
    tensors = load_file(checkpoint / TRAINED)
    with torch.no_grad():
        for name, weight in trained_weights(student.encoder):
            weight.copy_(tensors[name])
    student.encoder.eval()
    return student.base


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mini_batch": 3, "gradient_checkpointing": True, "copy_backbone": True},
        {"head": "all", "lora": {"rank": 2, "last_layers": 1}},
        {"head": "bias", "lora": None, "learning_rate": 1e-3},
        {"loss": {"kl": 0.5, "contrastive": 0.3, "margin_mse": 0.2, "temperature": 5.0, "schedule": "linear"}},
        {"norm_power": 0.5, "loss": {"temperature": 0.5, "budgets": [[5, 20]]}},
    ],
    ids=["lora", "gradcache", "head", "all weights", "all losses", "norm and budgets"],
)
def test_a_run_gives_a_folder_with_the_vectors_of_training(
    config: Config, base: Path, options: dict[str, Any]
) -> None:
    settings = config(**options)
    outcome = train(settings)
    assert outcome.steps == 8
    loaded = SplareModel.from_pretrained(outcome.folder, device="cpu")
    before = vectors(SplareModel.from_pretrained(base, device="cpu"))
    for ours, wanted, old in zip(vectors(loaded), vectors(in_training(settings)), before, strict=True):
        np.testing.assert_allclose(ours, wanted, atol=2e-5)
        assert np.abs(ours - old).max() > 1e-3
    assert loaded.config == outcome.config
    assert (loaded.config.query.scale, loaded.config.document.top_k) == (None, 60)
    assert loaded.config.norm_power == (settings.norm_power or 0)
    rows = log(settings.output)
    assert [row["step"] for row in rows] == list(range(1, 9))
    assert {"flops_query", "active_document", "dead_latents", "grad_norm", "learning_rate"} <= rows[0].keys()
    drift = [row for row in rows if "drift_cosine" in row]
    assert [row["step"] for row in drift] == [2, 4, 6, 8]
    assert len({row["token_explained_base"] for row in drift}) == 1
    assert all(0 < row["token_explained"] <= 1.00001 for row in drift)
    assert list((Path(settings.output) / "tensorboard").glob("events*"))


@pytest.mark.slow
def test_gradcache_trains_as_one_pass_does(config: Config, tmp_path: Path) -> None:
    train(config(output=str(tmp_path / "a")))
    train(config(output=str(tmp_path / "b"), mini_batch=3))
    np.testing.assert_allclose(curve(tmp_path / "a"), curve(tmp_path / "b"), rtol=1e-4)


@pytest.mark.slow
def test_a_run_whose_data_changed_does_not_go_on(config: Config, examples: Path, tmp_path: Path) -> None:
    data = tmp_path / "rows.jsonl"
    before = examples.read_text(encoding="utf-8")
    data.write_text(before, encoding="utf-8")
    settings = config(data=[{"source": str(data)}], drift_every=0)
    outcome = train(settings)
    shutil.rmtree(outcome.folder)  # as if it had been killed before its end
    data.write_text(before.replace("[3.0,", "[2.0,", 1), encoding="utf-8")  # a score
    with pytest.raises(InputError, match=r"the training data \(rows or scores\) changed since .*--overwrite"):
        train(settings)
    data.write_text(before, encoding="utf-8")  # a copy with another time is the same data
    assert train(settings).steps == outcome.steps
    shutil.rmtree(outcome.folder)
    data.write_text(before.replace("[3.0,", "[2.0,", 1), encoding="utf-8")
    assert train(settings, overwrite=True).steps == outcome.steps


def test_all_that_a_run_is_trained_on_is_compared(tmp_path: Path) -> None:
    require_same_data(tmp_path, {"a": "1", "b": "2"})
    require_same_data(tmp_path, {"a": "1", "b": "3"})  # no checkpoint yet
    checkpoint = tmp_path / "checkpoints" / "checkpoint-2"
    checkpoint.mkdir(parents=True)
    (checkpoint / "trainer_state.json").write_text("{}")
    require_same_data(tmp_path, {"a": "1", "b": "3"})
    for hashes in ({"a": "1", "b": "2"}, {"a": "1"}, {"a": "1", "b": "3", "c": "4"}):
        with pytest.raises(InputError, match=r"^[bc] changed since the last checkpoint"):
            require_same_data(tmp_path, hashes)


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_curve(settings: Settings, config: Config, tmp_path: Path) -> None:
    # Long enough for a kill in the second epoch, between two checkpoints.
    long = {"epochs": 5, "save_every": 3, "drift_every": 0}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(settings(**long, output=str(tmp_path / "killed"))), encoding="utf-8")
    program = [sys.executable, "-c", "from splare_plugins.cli.app import main; main()"]
    process = subprocess.Popen(
        [*program, "train", str(path)], env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE
    )
    written = tmp_path / "killed" / "log.jsonl"
    deadline = time.monotonic() + 120
    while not (written.is_file() and written.read_text().count("\n") >= 7):
        assert process.poll() is None and time.monotonic() < deadline, process.stderr and process.stderr.read()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = last_checkpoint(tmp_path / "killed")
    assert done is not None and not (tmp_path / "killed" / "model").exists()
    whole = train(config(**long, output=str(tmp_path / "whole")))
    resumed = train(TrainingConfig.from_yaml(path))
    np.testing.assert_allclose(curve(tmp_path / "killed"), curve(tmp_path / "whole"), rtol=1e-5)
    ours, theirs = (load_file(run.folder / "adapter" / "adapter_model.safetensors") for run in (resumed, whole))
    for name, tensor in theirs.items():
        torch.testing.assert_close(ours[name], tensor, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_two_processes_train_as_one_does(settings: Settings, config: Config, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    two = settings(steps=3, output=str(tmp_path / "two"), mini_batch=6, drift_every=0)
    path.write_text(yaml.safe_dump(two), encoding="utf-8")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    program = ["--no-python", str(Path(sys.executable).parent / "splare"), "train", str(path)]
    finished = subprocess.run(
        [*launcher, *program], env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=170
    )
    assert finished.returncode == 0, finished.stderr
    train(config(steps=3, output=str(tmp_path / "one"), drift_every=0))
    # The two share each batch; which examples a process has does not change the sum.
    np.testing.assert_allclose(curve(tmp_path / "two"), curve(tmp_path / "one"), rtol=1e-4)


@pytest.mark.slow
def test_the_development_set_is_measured_and_the_best_step_kept(config: Config, tmp_path: Path) -> None:
    folder = tmp_path / "dev"
    (folder / "qrels").mkdir(parents=True)
    words = ["fox", "river", "bread"]
    texts = [{"_id": f"d{n}", "text": f"a text about {word}"} for n, word in enumerate(words)]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in texts))
    queries = [{"_id": f"q{n}", "text": word} for n, word in enumerate(words)]
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in queries))
    judged = "".join(f"q{n}\td{n}\t1\n" for n in range(3))
    (folder / "qrels" / "dev.tsv").write_text(f"query-id\tcorpus-id\tscore\n{judged}")
    settings = config(evaluation={"source": str(folder), "every": 4}, save_every=4, best=True)
    outcome = train(settings)
    lines = map(json.loads, (Path(settings.output) / "log.jsonl").read_text().splitlines())
    measured = {row["step"]: row["eval_dev"] for row in lines if "eval_dev" in row}
    assert measured.keys() == {4, 8}
    assert all(0 < value <= 1 for value in measured.values())
    best = max(measured, key=lambda step: (measured[step], -step))
    kept = load_file(Path(settings.output) / "checkpoints" / f"checkpoint-{best}" / TRAINED)
    written = load_file(outcome.folder / "adapter" / "adapter_model.safetensors")
    name = next(iter(written))
    inside = name.removeprefix("base_model.model.").replace(".weight", ".default.weight")
    torch.testing.assert_close(written[name], next(value for key, value in kept.items() if key.endswith(inside)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": {"temperature": 1e-44}}, r"step 1: objective is (nan|inf); lower learning_rate"),
        (
            {"loss": {"lambda_query": 1e3, "schedule": "constant", "temperature": 5.0}, "learning_rate": 0.5},
            r"100% of the texts of the query side have no active latent left; lower loss: lambda_query",
        ),
        (
            {"loss": {"lambda_document": 0.0, "schedule": "constant", "temperature": 5.0}},
            r"of all latents active although the FLOPS weights are full; raise loss: lambda_(query|document)",
        ),
    ],
    ids=["nan", "empty", "dense"],
)
def test_a_run_that_goes_wrong_stops_and_names_the_knob(config: Config, options: dict[str, Any], message: str) -> None:
    dense_share = 0.5 if "raise" in message else 1.0
    settings = config(**options, epochs=20, guards={"patience": 3, "dense_share": dense_share}, head="bias")
    with pytest.raises(SplareError, match=message):
        train(settings)
    assert not (Path(settings.output) / "model").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 64}, "there are 32 examples, fewer than batch_size 64"),
        ({"lora": {"targets": ["q_proj"]}}, "no adapter can be put on q_proj; .* are called dense, key, query, value"),
        ({"lora": {"last_layers": 9}}, "has 2 layers, so last_layers cannot be 9"),
        ({"document_length": 999}, "has 64 positions"),
        ({"model": "no-such-model"}, "no-such-model"),
        ({"evaluation": {"source": "nowhere"}}, "nowhere has no dev split"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_the_first_step(
    config: Config, options: dict[str, Any], message: str
) -> None:
    settings = config(**options)
    with pytest.raises(InputError, match=message):
        train(settings)
    assert not (Path(settings.output) / "log.jsonl").exists()


@pytest.mark.slow
def test_a_folder_keeps_its_run(config: Config, tmp_path: Path) -> None:
    train(config(steps=1))
    with pytest.raises(InputError, match="is trained already"):
        train(config(steps=1))
    with pytest.raises(InputError, match="holds a run with another learning_rate"):
        train(config(steps=1, learning_rate=1e-4))
    assert train(config(steps=1, learning_rate=1e-4), overwrite=True).steps == 1
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    for overwrite in (False, True):
        with pytest.raises(InputError, match="holds something that is not a training run"):
            train(config(output=str(tmp_path / "other")), overwrite=overwrite)
    assert (tmp_path / "other" / "file").exists()


def test_a_config_that_was_refused_can_be_mended(config: Config) -> None:
    with pytest.raises(InputError, match="no adapter can be put on q_proj"):
        train(config(steps=1, lora={"targets": ["q_proj"]}))
    assert train(config(steps=1)).steps == 1


def test_a_model_with_an_adapter_has_no_room_for_another(config: Config, tmp_path: Path) -> None:
    first = train(config(steps=1))
    with pytest.raises(InputError, match="has an adapter already"):
        train(config(model=str(first.folder), output=str(tmp_path / "second")))
