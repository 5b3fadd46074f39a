"""A tiny base model and tiny data to train on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from splare_plugins.training.config import TrainingConfig
from tests.tiny import save_tiny_model

WORDS = [
    *("fox", "dog", "latent", "sparse", "index", "state", "token", "engine"),
    *("query", "weight", "bank", "river", "tree", "cloud", "stone", "bread"),
]


def rows(count: int = 32) -> list[dict[str, Any]]:
    """Examples that share words with their positive."""
    return [
        {
            "query": f"{WORDS[n % 16]} {WORDS[(n * 3) % 16]}",
            "positive": f"a text about {WORDS[n % 16]}",
            "negatives": [f"a text about {WORDS[(n + step) % 16]}" for step in (1, 2, 5)],
            "scores": [3.0, 1.0, 0.5, 0.2],
        }
        for n in range(count)
    ]


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base without dropout, so that runs can be compared."""
    folder = save_tiny_model(tmp_path_factory.mktemp("base") / "model", max_length=64)
    path = folder / "backbone" / "config.json"
    settings = json.loads(path.read_text())
    settings.update(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    path.write_text(json.dumps(settings))
    return folder


@pytest.fixture(scope="session")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("examples") / "train.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows()), encoding="utf-8")
    return path


Settings = Callable[..., dict[str, Any]]


@pytest.fixture
def settings(base: Path, examples: Path, tmp_path: Path) -> Settings:
    """Makes the values of a short run; keywords replace some."""

    def make(**options: Any) -> dict[str, Any]:
        return {
            "model": str(base),
            "output": str(tmp_path / "run"),
            "data": [{"source": str(examples)}],
            "negatives": 3,
            "batch_size": 8,
            "epochs": 2,
            "learning_rate": 3e-3,
            "lora": {"rank": 4},
            "loss": {"temperature": 5.0, "lambda_query": 1e-3, "lambda_document": 1e-3},
            "device": "cpu",
            "save_every": 2,
            "drift_every": 2,
            "query_length": 24,
            "document_length": 32,
            **options,
        }

    return make


@pytest.fixture
def config(settings: Settings) -> Callable[..., TrainingConfig]:
    return lambda **options: TrainingConfig.from_dict(settings(**options))
