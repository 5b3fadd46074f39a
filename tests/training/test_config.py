"""Training configs: the paper's values, and every mistake named."""

from __future__ import annotations

from pathlib import Path

import pytest

from splare_plugins.errors import InputError
from splare_plugins.training.config import DataSettings, LoraSettings, TrainingConfig

LEAST = "model: m\noutput: o\ndata: [{source: a.jsonl}]\n"
CONFIGS = sorted((Path(__file__).parents[2] / "examples" / "configs").glob("*.yaml"))


def read(tmp_path: Path, text: str) -> TrainingConfig:
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return TrainingConfig.from_yaml(path)


def test_defaults_are_the_papers_table(tmp_path: Path) -> None:
    config = read(tmp_path, LEAST)
    assert config.lora == LoraSettings(rank=64)
    assert (config.batch_size, config.negatives, config.epochs, config.document_length) == (128, 8, 1.0, 128)
    assert (config.learning_rate, config.warmup, config.betas) == (5e-5, 0.01, (0.9, 0.999))
    assert (config.loss.lambda_query, config.loss.lambda_document, config.loss.temperature) == (1e-4, 1e-4, 80.0)
    assert config.data == (DataSettings(source="a.jsonl"),)


def test_numbers_that_yaml_takes_for_text_are_numbers(tmp_path: Path) -> None:
    config = read(tmp_path, LEAST + "learning_rate: 3e-4\nloss: {lambda_query: 1e-3, temperature: 40}\nlora: null\n")
    assert (config.learning_rate, config.loss.lambda_query, config.loss.temperature) == (3e-4, 1e-3, 40.0)
    assert config.lora is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rat: 1\n", "there is no setting 'learning_rat'; did you mean 'learning_rate'"),
        ("loss: {lamda_query: 1}\n", r"config.yaml: loss: there is no setting 'lamda_query'; did you mean 'lambda_"),
        ("zzz: 1\n", "there is no setting 'zzz'; there are model, output"),
        ("batch_size: many\n", "batch_size must be a whole number, not 'many'"),
        ("batch_size: true\n", "batch_size must be a whole number, not True"),
        ("batch_size: 0\n", "'batch_size' cannot be 0"),
        ("learning_rate: fast\n", "learning_rate must be a number, not 'fast'"),
        ("learning_rate: .nan\n", "learning_rate must be a finite number"),
        ("learning_rate: -1.0\n", "'learning_rate' cannot be -1.0"),
        ("best: maybe\n", "best must be true or false, not 'maybe'"),
        ("head: frosen\n", "head must be 'frozen' or 'bias' or 'calibration' or 'all', not 'frosen'"),
        ("betas: [0.9]\n", "betas must be a list"),
        ("loss: fast\n", "loss: settings are names with values, not 'fast'"),
        ("loss: {temperature: 0}\n", "'loss: temperature' cannot be 0"),
        ("loss: {budgets: [[40]]}\n", r"budgets must be a list of 2, not \[40\]"),
        ("loss: {budgets: [[40, 0]]}\n", "'loss: budgets' cannot be"),
        ("norm_power: 2\n", "'norm_power' cannot be 2"),
        ("loss: {kl: 0}\n", "no part that ranks"),
        ("loss: {unpruned: false}\n", "without budgets, all latents are all there is to rank by; set budgets"),
        ("loss: {kl: -1}\n", "'loss: kl' cannot be -1"),
        ("negatives: 0\n", "distillation compares candidates"),
        ("best: true\n", "best needs an evaluation"),
        ("best: true\nevaluation: {source: d, every: 3}\nsave_every: 2\n", "must fall on checkpoints"),
        ("evaluation: {split: dev}\n", "the setting 'source' is missing"),
        ("lora: {rank: 0}\n", "'lora: rank' cannot be 0"),
        ("x: [\n", "is not valid YAML"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(tmp_path, LEAST + text)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'output' is missing"):
        read(tmp_path, "model: m\ndata: []\n")
    with pytest.raises(InputError, match="no training data"):
        read(tmp_path, "model: m\noutput: o\ndata: []\n")
    with pytest.raises(InputError, match="settings are names with values, not None"):
        read(tmp_path, "")
    with pytest.raises(InputError, match=r"cannot read .*nothing\.yaml"):
        TrainingConfig.from_yaml(tmp_path / "nothing.yaml")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_configs_that_come_along_are_valid(path: Path) -> None:
    assert TrainingConfig.from_yaml(path).data


def test_the_papers_models_have_their_values() -> None:
    found = {path.stem: TrainingConfig.from_yaml(path) for path in CONFIGS}
    assert {name: found[name].loss.temperature for name in ("splare-7b", "splare-2b", "splade-llama")} == {
        "splare-7b": 80.0,
        "splare-2b": 50.0,
        "splade-llama": 10.0,
    }
    assert all(found[name].document_length == 512 for name in ("splare-7b", "splare-2b"))
    assert "splare-e5-small" in found
