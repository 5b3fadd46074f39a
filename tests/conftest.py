"""Fixtures that several packages share."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from splare_plugins.model import SplareModel
from tests.tiny import save_tiny_model

# A shell's background jobs start with Ctrl-C ignored, and so would the processes that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved tiny random model."""
    return save_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def tiny(tiny_folder: Path) -> SplareModel:
    """The tiny random model, loaded."""
    return SplareModel.from_pretrained(tiny_folder, device="cpu")


@pytest.fixture(scope="session")
def builtin() -> SplareModel:
    """The built-in small model with its real weights."""
    return SplareModel.from_pretrained(device="cpu")
