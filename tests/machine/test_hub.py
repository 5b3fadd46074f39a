"""Models by hub id: the hub's cache loads without a network, uploads are complete, refusals are one sentence."""

from __future__ import annotations

import dataclasses
import shutil

import huggingface_hub
import pytest
from huggingface_hub import ModelCard

from splare_plugins.errors import InputError
from splare_plugins.machine.hub import HubUnreachableError, hub_errors
from splare_plugins.model.splare import SplareModel
from tests.hub_server import COMMIT
from tests.tiny import TEXTS, save_tiny_model, tiny_model


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


@pytest.mark.parametrize("loaded", [True, False])
def test_what_is_pushed_loads_again(hub_server, tiny, loaded):
    model = tiny if loaded else tiny_model()
    figure = {"dataset": "SciFact", "metric": "nDCG@10", "value": 0.5}
    address = model.push_to_hub("somebody/tiny", private=True, figures=[figure])
    assert address == f"{hub_server.address}/somebody/tiny/commit/{COMMIT}"
    card = ModelCard.load(hub_server.root / "somebody" / "tiny" / "README.md")
    assert 'from_pretrained("somebody/tiny")' in card.text
    assert card.data.eval_results[0].metric_value == 0.5
    again = SplareModel.from_pretrained("somebody/tiny", device="cpu")
    assert abs(again.encode_queries(TEXTS) - model.encode_queries(TEXTS)).max() < 1e-6
    assert again.config.index_fingerprint() == tiny.config.index_fingerprint()


def test_a_backbone_of_this_machine_is_pushed_with_the_model(hub_server, tiny_folder, tmp_path):
    folder = save_tiny_model(tmp_path / "model")
    backbone = tmp_path / "elsewhere"
    (folder / "backbone").rename(backbone)
    model = SplareModel.from_pretrained(tiny_folder, device="cpu")
    model.config = dataclasses.replace(model.config, backbone=str(backbone))
    model.push_to_hub("somebody/tiny")
    shutil.rmtree(backbone)
    again = SplareModel.from_pretrained("somebody/tiny", device="cpu")
    assert abs(again.encode_queries(TEXTS) - model.encode_queries(TEXTS)).max() < 1e-6


def test_the_hubs_refusals_are_one_sentence(hub_server, tiny):
    repo = hub_server.root / "somebody" / "gated"
    shutil.copytree(tiny.folder, repo)
    hub_server.gated.add("somebody/gated")
    hub_server.read_only.add("somebody/others")
    for call, words in (
        (lambda: SplareModel.from_pretrained("somebody/gated"), "somebody/gated is gated.*hf auth login"),
        (lambda: SplareModel.from_pretrained("somebody/nobody"), "no hub repository somebody/nobody"),
        (lambda: tiny.push_to_hub("somebody/others"), "not let you upload to somebody/others"),
        (lambda: tiny.push_to_hub("a name"), "not a name of a hub repository"),
    ):
        with pytest.raises(InputError, match=words) as refusal:
            call()
        assert "\n" not in str(refusal.value)


def test_a_full_disk_is_no_silent_hub():
    expected = pytest.raises(HubUnreachableError, match=r"cannot fetch org/name \(No space left on device\)")
    with expected, hub_errors("org/name"):
        raise OSError(28, "No space left on device")
