"""Where SAEs come from: folders, files, a hub that is faked by its two calls; conversion once."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
from huggingface_hub import errors

from splare_plugins.errors import InputError
from splare_plugins.heads import SparseAutoencoder
from splare_plugins.heads.importers import Hints, import_sae
from splare_plugins.heads.importers.fetch import locate
from tests.heads.importers import replicas
from tests.heads.importers.replicas import LAYER
from tests.machine.failing import contents, fail_to_publish

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class FakeHub:
    """Repositories as folders; remembers what was asked for."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.fetched: list[str] = []
        self.revisions: list[str | None] = []
        self.error: Exception | None = None

    def model_info(self, repo: str, revision: str | None = None) -> SimpleNamespace:
        if self.error is not None:
            raise self.error
        self.revisions.append(revision)
        names = [path.relative_to(self.root / repo).as_posix() for path in (self.root / repo).rglob("*.*")]
        files = [SimpleNamespace(rfilename=name) for name in names if (self.root / repo / name).is_file()]
        return SimpleNamespace(sha=COMMIT, siblings=files)

    def download(self, repo: str, name: str, revision: str | None = None) -> str:
        assert revision == COMMIT
        self.fetched.append(name)
        target = self.root / "hub-cache" / repo / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.root / repo / name, target)
        return str(target)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    fake = FakeHub(tmp_path)
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: fake)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fake.download)
    return fake


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SPLARE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def response(status: int) -> object:
    from inspect import signature

    request = SimpleNamespace(url="", method="GET")
    assert "response" in signature(errors.HfHubHTTPError.__init__).parameters
    return SimpleNamespace(status_code=status, headers={}, request=request)


def test_a_hub_source_fetches_its_own_files_only(hub, tmp_path):
    repo = tmp_path / "fnlp" / "Llama3_1-8B-Base-LXR-32x"
    folder = replicas.llama_scope(repo).folder
    shutil.copytree(folder, repo / "Llama3_1-8B-Base-L16R-32x")
    (folder / "checkpoints" / "extra.safetensors").write_bytes(b"large")
    head = SparseAutoencoder.load(import_sae(f"hf:fnlp/Llama3_1-8B-Base-LXR-32x#L{LAYER}R"))
    assert hub.fetched == [f"{folder.name}/hyperparams.json", f"{folder.name}/checkpoints/final.safetensors"]
    assert (head.card["revision"], head.card["layer"]) == (COMMIT, LAYER)


def test_path_and_revision_of_a_hub_source(hub, tmp_path):
    replica = replicas.gemma_scope(tmp_path / "google")
    path = replica.folder.relative_to(tmp_path)
    head = SparseAutoencoder.load(import_sae(f"hf:{path}@v2"))
    assert hub.revisions == ["v2"]
    assert head.card["base_model"] == "google/gemma-2-2b"
    assert head.card["source"] == f"hf:{path}@v2"


@pytest.mark.parametrize("end", [f"#layer{LAYER}", f"/layer{LAYER}.sae.pt", ""])
def test_one_layer_of_many_files(hub, tmp_path, end):
    folder = replicas.qwen_scope(tmp_path / "Qwen").folder
    if end:
        shutil.copy(folder / f"layer{LAYER}.sae.pt", folder / "layer16.sae.pt")
    head = SparseAutoencoder.load(import_sae(f"hf:Qwen/{folder.name}{end}"))
    assert hub.fetched == [f"layer{LAYER}.sae.pt"]
    assert (head.card["layer"], head.k, head.card["base_model"]) == (LAYER, replicas.K, None)


def test_the_layer_option_picks_a_file(tmp_path):
    folder = replicas.qwen_scope(tmp_path).folder
    shutil.copy(folder / f"layer{LAYER}.sae.pt", folder / "layer16.sae.pt")
    with pytest.raises(InputError, match="layers 6, 16, which of them"):
        import_sae(str(folder))
    assert SparseAutoencoder.load(import_sae(str(folder), hints=Hints(layer=16))).card["layer"] == 16


@pytest.mark.parametrize("file", ["hyperparams.json", "checkpoints/final.safetensors"])
def test_a_file_stands_for_its_folder(file, tmp_path):
    folder = replicas.llama_scope(tmp_path).folder
    assert locate(str(folder / file), suite=None, hints=Hints()).folder == folder


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("hf:fnlp", "is not a hub source"),
        ("hf:fnlp/repo/nothing", "no folder 'nothing'"),
        ("hf:fnlp/repo#L99R", "selects 0 places"),
        ("hf:fnlp/repo#Base", "selects 2 places"),
        ("hf:fnlp/repo", "not an SAE of"),
    ],
)
def test_wrong_hub_sources(hub, tmp_path, source, words):
    folder = replicas.llama_scope(tmp_path / "fnlp" / "repo").folder
    shutil.copytree(folder, folder.with_name("Llama3_1-8B-Base-L16R-32x"))
    with pytest.raises(InputError, match=words):
        import_sae(source)
    assert hub.fetched == []


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (errors.GatedRepoError, "gated.*hf auth login"),
        (errors.RepositoryNotFoundError, "no hub repository a/b"),
        (errors.RevisionNotFoundError, "no such revision"),
        (errors.HfHubHTTPError, "without a network"),
    ],
)
def test_what_the_hub_refuses_is_one_sentence(hub, kind, words):
    hub.error = kind("long text", response=response(404))
    with pytest.raises(InputError, match=words) as refusal:
        import_sae("hf:a/b")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("error", [OSError("no route"), errors.OfflineModeIsEnabled("offline")])
def test_without_a_network_an_earlier_conversion_serves(hub, tmp_path, caplog, error):
    replica = replicas.gemma_scope(tmp_path / "google")
    source = f"hf:{replica.folder.relative_to(tmp_path)}"
    first = import_sae(source)
    hub.error = error
    with caplog.at_level(logging.WARNING):
        assert import_sae(source) == first
    assert "earlier conversion" in caplog.text
    with pytest.raises(InputError, match="without a network"):
        import_sae(source, hints=Hints(layer=3))


def test_a_source_is_converted_once(tmp_path, cache):
    folder = replicas.sparsify(tmp_path).folder
    first = import_sae(str(folder))
    stamp = (first / "head.safetensors").stat().st_mtime_ns
    assert import_sae(str(folder)) == first
    assert (first / "head.safetensors").stat().st_mtime_ns == stamp
    config = json.loads((folder / "cfg.json").read_text())
    (folder / "cfg.json").write_text(json.dumps({**config, "k": 3}))
    assert SparseAutoencoder.load(import_sae(str(folder))).k == 3
    assert len(list((cache / "sae").iterdir())) == 2


def test_an_output_that_exists_is_kept(tmp_path):
    folder, output = replicas.sparsify(tmp_path).folder, tmp_path / "head"
    import_sae(str(folder), output=output)
    with pytest.raises(InputError, match="--overwrite"):
        import_sae(str(folder), output=output)
    import_sae(str(folder), output=output, overwrite=True)
    assert sorted(path.name for path in output.iterdir()) == ["head.json", "head.safetensors"]


def test_an_sae_stays_where_the_new_one_cannot_be_put(tmp_path, cache, monkeypatch):
    folder, output = replicas.sparsify(tmp_path).folder, tmp_path / "out" / "head"
    import_sae(str(folder), output=output)
    before = contents(output)
    fail_to_publish(monkeypatch)
    with pytest.raises(InputError, match=r"cannot write .*Input/output error"):
        import_sae(str(folder), output=output, overwrite=True)
    assert contents(output) == before
    assert [path.name for path in output.parent.iterdir()] == ["head"]


def test_what_is_no_head_is_never_replaced(tmp_path):
    folder, mine = replicas.sparsify(tmp_path).folder, tmp_path / "mine"
    mine.mkdir()
    (mine / "notes").write_text("precious")
    for place in (mine, mine / "notes"):
        with pytest.raises(InputError, match="no imported SAE"):
            import_sae(str(folder), output=place, overwrite=True)
    assert (mine / "notes").read_text() == "precious"
