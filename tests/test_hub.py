"""Models by hub id: what is in the hub's cache loads without a network, and uploads are complete folders."""

from __future__ import annotations

import shutil

import huggingface_hub
import pytest

from splare_plugins.errors import InputError
from splare_plugins.model import SplareModel
from tests.tiny import TEXTS

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return tmp_path


def test_a_cached_hub_model_loads_offline(hub_cache, tiny, tiny_folder):
    repo = hub_cache / "models--somebody--tiny"
    shutil.copytree(tiny_folder, repo / "snapshots" / COMMIT)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(COMMIT)
    for options in ({}, {"revision": COMMIT}, {"local_files_only": True}):
        model = SplareModel.from_pretrained("somebody/tiny", device="cpu", **options)
        assert model.config == tiny.config


def test_a_hub_model_that_cannot_be_fetched_is_one_sentence(hub_cache):
    with pytest.raises(InputError, match="somebody/nothing"):
        SplareModel.from_pretrained("somebody/nothing", local_files_only=True)


def test_what_is_pushed_is_the_whole_model(tiny, tmp_path, monkeypatch):
    class Api:
        def __init__(self, token: str | None = None) -> None:
            self.token = token

        def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> None:
            assert (repo_id, private, exist_ok) == ("somebody/tiny", True, True)

        def upload_folder(self, *, repo_id: str, folder_path: str) -> str:
            shutil.copytree(folder_path, tmp_path / "uploaded")
            return f"commit of {repo_id}"

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    assert tiny.push_to_hub("somebody/tiny", private=True) == "commit of somebody/tiny"
    loaded = SplareModel.from_pretrained(tmp_path / "uploaded", device="cpu")
    assert abs(loaded.encode_queries(TEXTS) - tiny.encode_queries(TEXTS)).max() < 1e-6
