"""A backbone's files on their way into a model's folder."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from splare_plugins.backbone.files import backbone_bytes, take_backbone
from splare_plugins.backbone.source import find_backbone
from splare_plugins.config import SplareConfig
from splare_plugins.errors import InputError
from splare_plugins.machine import folders
from splare_plugins.model.splare import SplareModel
from tests.tiny import TEXTS, save_tiny_model, tiny_model

CONFIG = SplareConfig(name="m", revision="r", backbone="x", width=1)


@pytest.fixture
def backbone(tmp_path: Path) -> Path:
    """Two shards, what a tokenizer needs, and what belongs to nobody."""
    folder = tmp_path / "backbone"
    (folder / "onnx").mkdir(parents=True)
    for name in ("a.safetensors", "b.safetensors", "config.json", "tokenizer.json", "LICENSE", "README.md"):
        (folder / name).write_text(name)
    for name in ("pytorch_model.bin", "onnx/model.onnx", "splare_config.json"):
        (folder / name).write_text("x" * 1000)
    return folder


def taken(backbone: str | Path, made: Path, **options: bool) -> str:
    made.mkdir(exist_ok=True)
    return take_backbone(dataclasses.replace(CONFIG, backbone=str(backbone)), Path(), made, **options).backbone


def test_what_is_read_is_taken_and_nothing_else(backbone: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    assert taken(backbone, made) == "backbone"
    names = {path.name for path in (made / "backbone").iterdir()}
    assert names == {"a.safetensors", "b.safetensors", "config.json", "tokenizer.json", "LICENSE", "README.md"}
    config = dataclasses.replace(CONFIG, backbone="backbone")
    assert backbone_bytes(config, made) == sum(map(len, names))


@pytest.mark.parametrize("links", [True, False])
def test_weights_are_links_where_that_is_possible_and_settings_never(
    backbone: Path, tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no hard links here")

    if not links:
        monkeypatch.setattr(folders.os, "link", refuse)
    taken(backbone, tmp_path / "made")
    for name, linked in (("a.safetensors", links), ("config.json", False)):
        twin = tmp_path / "made" / "backbone" / name
        assert twin.read_text() == name
        assert twin.samefile(backbone / name) == linked


def test_files_that_are_links_into_a_cache_are_taken_whole(backbone: Path, tmp_path: Path) -> None:
    (backbone / "a.safetensors").rename(tmp_path / "blob")
    (backbone / "a.safetensors").symlink_to(tmp_path / "blob")
    taken(backbone, tmp_path / "made")
    twin = tmp_path / "made" / "backbone" / "a.safetensors"
    assert not twin.is_symlink() and twin.read_text() == "a.safetensors"


def test_a_gguf_file_goes_by_its_name(backbone: Path, tmp_path: Path) -> None:
    (backbone / "q8.gguf").write_text("weights")
    made = tmp_path / "made"
    assert taken(backbone / "q8.gguf", made) == "backbone/q8.gguf"
    assert sorted(path.name for path in (made / "backbone").glob("*[fs]")) == ["q8.gguf"]
    assert taken(backbone / "q8.gguf", made, copy=False) == str(backbone / "q8.gguf")


@pytest.mark.parametrize("name", ["org/name", "splare-e5-small", "org/name/q8/file.gguf"])
def test_what_has_a_name_everywhere_keeps_it(name: str, tmp_path: Path) -> None:
    assert taken(name, tmp_path / "made") == name
    assert backbone_bytes(dataclasses.replace(CONFIG, backbone=name), tmp_path / "made") is None


def test_the_place_is_named_where_that_is_wanted(backbone: Path, tmp_path: Path) -> None:
    assert taken(backbone, tmp_path / "made", copy=False) == str(backbone)
    assert not list((tmp_path / "made").iterdir())


def test_a_folder_beside_the_model_does_not_count_as_inside(backbone: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    made.mkdir()
    assert take_backbone(dataclasses.replace(CONFIG, backbone="../backbone"), made, made).backbone == "backbone"
    assert (made / "backbone" / "a.safetensors").is_file()
    inside = dataclasses.replace(CONFIG, backbone="backbone")
    assert take_backbone(inside, tmp_path, made) == inside


def test_a_backbone_that_is_gone_is_named(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    config = dataclasses.replace(CONFIG, backbone=str(tmp_path / "gone"))
    with pytest.raises(InputError, match=r"stands on the backbone in .*gone, a folder that is not here"):
        take_backbone(config, tmp_path / "model", tmp_path / "made")


@pytest.mark.parametrize("name", ["backbone", "backbone/q8.gguf", "../backbone", "./backbone"])
def test_a_folder_that_a_model_lacks_is_not_looked_for_on_a_hub(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the model in .*model (lacks its backbone, .*model/|stands on .*not here)"):
        find_backbone(dataclasses.replace(CONFIG, backbone=name), tmp_path / "model", local_files_only=False)


def test_saving_over_another_model_leaves_none_of_its_shards(tmp_path: Path) -> None:
    """They would count as weights of the new one, whose hash would be wrong."""
    place = save_tiny_model(tmp_path / "model", seed=1)
    (place / "backbone" / "other.safetensors").write_bytes((place / "backbone" / "model.safetensors").read_bytes())
    (place / "notes").write_text("mine")
    for model in (SplareModel.from_pretrained(save_tiny_model(tmp_path / "new"), device="cpu"), tiny_model()):
        model.save_pretrained(place)
        again = SplareModel.from_pretrained(place, device="cpu")
        assert abs(again.encode_queries(TEXTS) - model.encode_queries(TEXTS)).max() < 1e-6
        assert (place / "notes").read_text() == "mine"


def test_saving_from_memory_does_not_write_into_a_linked_original(
    backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a folder is written in place, as the one that the process works in is."""
    original = save_tiny_model(tmp_path / "original") / "backbone" / "model.safetensors"
    before = original.read_bytes()
    place = save_tiny_model(tmp_path / "model")
    twin = place / "backbone" / "model.safetensors"
    twin.unlink()
    os.link(original, twin)
    monkeypatch.chdir(place)
    tiny_model(seed=5).save_pretrained(place)
    assert original.read_bytes() == before != twin.read_bytes()
