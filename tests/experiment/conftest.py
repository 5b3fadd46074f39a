from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from splare_plugins.experiment.config import ExperimentConfig
from tests.cli.conftest import small_data, splare  # noqa: F401 (fixtures)


@pytest.fixture
def settings(tiny_folder: Path, small_data: Path) -> dict[str, Any]:  # noqa: F811
    """Four systems without Java, on questions of two languages about the same paragraphs."""
    return tiny_settings(tiny_folder, small_data)


def tiny_settings(tiny_folder: Path, small_data: Path) -> dict[str, Any]:  # noqa: F811
    """Those of the fixture, for fixtures that are made once a module."""
    model = str(tiny_folder)
    english = str(small_data / "xquad" / "en")
    return {
        "systems": [
            {"name": "own", "kind": "splare", "model": model},
            {"name": "short", "kind": "splare", "model": model, "query_top_k": 3, "document_top_k": 10},
            {"name": "dense", "kind": "dense", "model": model},
            {"name": "both", "kind": "fused", "of": ["own", "dense"], "method": "zscore", "weights": [2, 1]},
        ],
        "collections": [
            {"name": "en", "source": english},
            {"name": "de-en", "source": english, "queries": str(small_data / "xquad" / "de"), "limit": 20},
        ],
        "measures": ["nDCG@10", "RR@10"],
        "engine": "memory",
        "depth": 8,
        "part_size": 5,
    }


@pytest.fixture
def config(settings: dict[str, Any]) -> ExperimentConfig:
    return ExperimentConfig.from_dict(settings)
