"""What travels in a model folder is what its config names, or it is refused; and a save leaves nothing half-made."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from splare_plugins.config import CONFIG_FILE, SplareConfig
from splare_plugins.errors import InputError
from splare_plugins.machine.files import file_sha256
from splare_plugins.model.splare import SplareModel
from tests.machine.failing import contents, fail_to_publish
from tests.tiny import save_tiny_model, tiny_model


@pytest.fixture
def folder(tmp_path):
    return save_tiny_model(tmp_path / "model")


def change_a_weight(path):
    tensors = load_file(path)
    name = sorted(tensors)[0]
    tensors[name].view(-1)[0] += 1
    save_file(tensors, path, metadata={"format": "pt"})


@pytest.mark.parametrize("part", ["backbone/model.safetensors", "head/head.safetensors"])
def test_other_weights_are_refused(folder, part):
    change_a_weight(folder / part)
    with pytest.raises(InputError, match="does not have the hash") as refusal:
        SplareModel.from_pretrained(folder, device="cpu")
    assert "\n" not in str(refusal.value)


def test_a_backbone_can_be_taken_as_it_is(folder):
    change_a_weight(folder / "backbone" / "model.safetensors")
    assert SplareModel.from_pretrained(folder, device="cpu", verify=False)


def test_a_backbone_without_weights_is_refused(folder):
    (folder / "backbone" / "model.safetensors").unlink()
    with pytest.raises(InputError, match="no safetensors weights"):
        SplareModel.from_pretrained(folder, device="cpu")


@pytest.mark.parametrize("change", [{"layer": 0}, {"pool_all_tokens": True}, {"width": 511}])
def test_a_config_that_was_changed_is_refused_until_that_is_meant(folder, change):
    path = folder / CONFIG_FILE
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, **change}))
    with pytest.raises(InputError, match="was changed after it was saved"):
        SplareConfig.load(folder)
    del values["fingerprint"]
    path.write_text(json.dumps({**values, **change}))
    assert SplareConfig.load(folder).fingerprint() != tiny_model().config.fingerprint()


def test_a_scale_that_was_changed_is_refused(folder):
    path = folder / CONFIG_FILE
    values = json.loads(path.read_text())
    values["document"]["scale"] *= 2
    path.write_text(json.dumps(values))
    with pytest.raises(InputError, match="was changed after it was saved"):
        SplareModel.from_pretrained(folder, device="cpu")


def test_names_and_top_k_may_be_changed(folder):
    path = folder / CONFIG_FILE
    values = json.loads(path.read_text())
    values["query"]["top_k"] = 7
    path.write_text(json.dumps({**values, "name": "mine"}))
    assert SplareModel.from_pretrained(folder, device="cpu").config.query.top_k == 7


def test_saving_a_model_of_memory_writes_down_its_hashes(tmp_path):
    model = tiny_model()
    model.save_pretrained(tmp_path)
    assert model.config.backbone_sha256 == file_sha256(tmp_path / "backbone" / "model.safetensors")
    assert SplareConfig.load(tmp_path) == model.config


def test_an_interrupted_save_leaves_no_model(folder, tmp_path, monkeypatch):
    model = SplareModel.from_pretrained(folder, device="cpu")

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("splare_plugins.model.parts.write_card", interrupt)
    with pytest.raises(KeyboardInterrupt):
        model.save_pretrained(tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("loaded", [True, False])
def test_a_save_over_another_model_is_whole_or_nothing(folder, tmp_path, monkeypatch, loaded):
    model = SplareModel.from_pretrained(folder, device="cpu") if loaded else tiny_model()
    other = save_tiny_model(tmp_path / "out" / "other", seed=1)
    (other / "notes.txt").write_text("mine")
    (other / "README.md").write_text("my words")
    before = contents(other)
    with monkeypatch.context() as failing:
        fail_to_publish(failing)
        with pytest.raises(InputError, match=r"cannot write .*Input/output error"):
            model.save_pretrained(other)
    assert contents(other) == before
    assert [path.name for path in other.parent.iterdir()] == ["other"]
    model.save_pretrained(other)
    assert SplareModel.from_pretrained(other, device="cpu").config.fingerprint() == model.config.fingerprint()
    assert (other / "notes.txt").read_text() == "mine"


def test_a_readme_of_somebodys_own_outlives_a_save(tmp_path):
    (tmp_path / "README.md").write_text("my words")
    tiny_model().save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text() == "my words"


def test_a_model_can_be_saved_where_one_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny_model().save_pretrained(".")
    assert SplareModel.from_pretrained(".", device="cpu")
    assert Path.cwd() == tmp_path


def test_a_model_that_a_killed_process_moved_aside_is_found(folder):
    killed = subprocess.Popen(["true"])
    killed.wait()
    folder.rename(folder.with_name(f".{folder.name}.{socket.gethostname()}-{killed.pid}-0123abcd.old"))
    assert SplareModel.from_pretrained(folder, device="cpu")
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
