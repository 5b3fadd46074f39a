"""Whatever cannot be indexed or searched is one sentence that names it and the way out."""

from __future__ import annotations

import importlib.util
import json
import math
import platform
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pyterrier as pt
import pytest

from pyterrier_splare import Splare, SplareIndex
from pyterrier_splare.indexes import seismic_engine
from pyterrier_splare.indexes.pisa import PisaEngine
from splare_plugins.engines import get_engine
from splare_plugins.errors import IdentityError, InputError, MissingPartError
from tests.pyserini_splare.conftest import python
from tests.tiny import save_tiny_model
from tests.wheels import needs_seismic

from .kinds import KINDS, documents_of, make, queries_of, random_impacts

GOOD = {"docno": "good", "toks": {"f1": 3}}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def pisa(tmp_path: Path) -> SplareIndex:
    return SplareIndex.pisa(tmp_path / "index").index([GOOD])


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ([GOOD, {"docno": 7, "toks": {"f1": 1}}], r"docno 7 is not a string"),
        ([GOOD, {"docno": None, "toks": {"f1": 1}}], r"docno None is not a string"),
        ([GOOD, {"docno": "", "toks": {"f1": 1}}], r"without an id"),
        ([GOOD, GOOD], r"'good' was added before"),
        ([GOOD, {"docno": "bad"}], r"document 2 has no 'toks'"),
        ([GOOD, {"docno": "bad", "toks": None}], r"document 'bad' has None"),
        ([GOOD, {"docno": "bad", "toks": {"f1": math.nan}}], r"document 'bad': .*f1.*nan"),
        ([GOOD, {"docno": "bad", "toks": {"f1": math.inf}}], r"document 'bad': .*f1.*inf"),
        ([GOOD, {"docno": "bad", "toks": {"f1": -3}}], r"document 'bad': .*f1.*-3"),
        ([GOOD, {"docno": "bad", "toks": {"f1": 0.7}}], r"document 'bad': .*f1.*0\.7"),
        ([GOOD, {"docno": "bad", "toks": {"##ing": 3}}], r"document 'bad': '##ing' is not a pseudo-term"),
        ([GOOD, {"docno": "bad", "toks": {"f99999999": 3}}], r"document 'bad': f99999999 is beyond .*name the model"),
        ([GOOD, {"docno": "\ud800", "toks": {"f1": 1}}], r"lone surrogate"),
        ([], r"no document to index"),
        (pd.DataFrame({"docno": [], "toks": []}), r"no document to index"),
    ],
)
def test_documents(tmp_path: Path, kind: str, documents: Any, message: str) -> None:
    index = make(kind, tmp_path / "index")
    with pytest.raises(InputError, match=message):
        index.indexer(batch_size=1).index(documents)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("documents", [[{"docno": "a", "text": "a"}], pd.DataFrame({"docno": ["a"], "text": ["a"]})])
def test_missing_columns(tmp_path: Path, documents: Any) -> None:
    with pytest.raises(pt.validate.InputValidationError, match="toks"):
        SplareIndex.memory(tmp_path / "index").index(documents)
    with pytest.raises(pt.validate.InputValidationError, match="query_toks"):
        SplareIndex.memory(tmp_path / "index").retriever()(pd.DataFrame({"qid": ["1"], "query": ["text"]}))


@pytest.mark.parametrize(
    ("queries", "message"),
    [
        ({"qid": ["q", "q"], "query_toks": [{"f1": 1}, {"f1": 2}]}, r"qid 'q' occurs twice"),
        ({"qid": ["q"], "query_toks": [{"f1": math.nan}]}, r"query 'q': .*f1.*nan"),
        ({"qid": ["q"], "query_toks": [{"f1": -1}]}, r"query 'q': .*f1.*-1"),
        ({"qid": ["q"], "query_toks": [{"f1": 1.5}]}, r"query 'q': .*f1.*1\.5"),
        ({"qid": ["q"], "query_toks": [{"Hello": 1}]}, r"query 'q': 'Hello' is not a pseudo-term"),
        ({"qid": ["q"], "query_toks": ["f1 f2"]}, r"query 'q' has 'f1 f2'"),
    ],
)
def test_queries(pisa: SplareIndex, queries: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        pisa.retriever()(pd.DataFrame(queries))


def test_settings(pisa: SplareIndex, tmp_path: Path) -> None:
    query = queries_of(random_impacts(1, 3))
    for call, message in (
        (lambda: pisa.retriever(num_results=0), "at least 1, not 0"),
        (lambda: pisa.indexer(batch_size=0), "at least 1, not 0"),
        (lambda: pisa.retriever(algorithm="magic")(query), r"no algorithm 'magic'; .*maxscore"),
        (lambda: pisa.retriever(threads=0)(query), "threads must be at least 1"),
        (lambda: get_engine("pisa").writer(str(tmp_path / "x"), None, encoding="magic"), "no encoding 'magic'"),
    ):
        with pytest.raises(InputError, match=message):
            call()


@needs_seismic
def test_settings_of_seismic(tmp_path: Path) -> None:
    seismic = SplareIndex.seismic(tmp_path / "seismic").index([GOOD])
    query = queries_of(random_impacts(1, 3))
    for call, message in (
        (lambda: seismic.retriever(preset="magic")(query), r"no preset 'magic'; .*fast"),
        (lambda: seismic.retriever(threads=0)(query), "threads must be at least 1"),
        (lambda: seismic.indexer(overwrite=True, magic=1).index([GOOD]), r"no build parameter 'magic'; .*n_postings"),
    ):
        with pytest.raises(InputError, match=message):
            call()


def test_places(pisa: SplareIndex, tmp_path: Path) -> None:
    query = queries_of(random_impacts(1, 3))
    with pytest.raises(InputError, match="exists already"):
        pisa.index([GOOD])
    with pytest.raises(InputError, match=r"no index at .*nowhere yet"):
        SplareIndex.pisa(tmp_path / "nowhere").retriever()(query)
    with pytest.raises(InputError, match=r"of the kind splare_pisa, not splare_seismic"):
        SplareIndex.seismic(pisa.path).retriever()(query)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="not an index made here"):
        SplareIndex.pisa(tmp_path / "mine").indexer(overwrite=True).index([GOOD])
    assert (tmp_path / "mine" / "thesis.tex").exists()


def test_a_docno_with_a_line_break(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="line break"):
        SplareIndex.pisa(tmp_path / "index").index([{"docno": "a\nb", "toks": {"f1": 1}}])


@needs_seismic
def test_impacts_beyond_half_precision(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"up to 2049, .* at most 2048"):
        SplareIndex.seismic(tmp_path / "index").index([{"docno": "a", "toks": {"f1": 2049}}])


def test_another_model(
    splare: Splare, tmp_path: Path, documents: pd.DataFrame, queries: pd.DataFrame, kind: str
) -> None:
    other = Splare(save_tiny_model(tmp_path / "other", seed=1), device="cpu")
    index = make(kind, tmp_path / "index", model=splare)
    (splare.doc_encoder() >> index.indexer()).index(documents.to_dict("records"))
    both = rf"{splare.config.index_fingerprint()}.*{other.config.index_fingerprint()}"
    with pytest.raises(IdentityError, match=both):
        (other.query_encoder() >> index.retriever())(queries)
    with pytest.raises(IdentityError):
        make(kind, tmp_path / "index", model=other).retriever()
    with pytest.raises(IdentityError):
        make(kind, tmp_path / "index", model=other).searcher()
    with pytest.raises(IdentityError):
        index.indexer(overwrite=True).index(other.doc_encoder()(documents))
    meta = json.loads((tmp_path / "index" / "pt_meta.json").read_text(encoding="utf-8"))
    assert meta["splare"]["fingerprint"] == splare.config.index_fingerprint()
    assert len((splare.query_encoder() >> index.retriever())(queries))


def test_an_encoded_corpus_of_another_model(splare: Splare, tmp_path: Path) -> None:
    from splare_plugins.retrieval.indexing import encode_shard

    corpus = tmp_path / "corpus.tsv"
    corpus.write_text("d1\ttext\n")
    encode_shard(splare.model, corpus, tmp_path / "shards")
    other = save_tiny_model(tmp_path / "other", seed=1)
    with pytest.raises(IdentityError):
        SplareIndex.memory(model=other).index(Splare.from_encoded(tmp_path / "shards"))


@pytest.mark.parametrize("model", [7, object(), pd.DataFrame()])
def test_something_that_is_no_model(tmp_path: Path, model: Any) -> None:
    with pytest.raises(InputError, match="is not a SPLARE model"):
        SplareIndex.pisa(tmp_path, model=model)


@pytest.mark.parametrize("package", ["pyterrier_pisa", "seismic"])
def test_a_missing_package(monkeypatch: pytest.MonkeyPatch, package: str, tmp_path: Path) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else find(name))
    monkeypatch.setattr(seismic_engine, "NO_WHEEL", False)
    kind = package.removeprefix("pyterrier_")
    with pytest.raises(MissingPartError, match=r"pip install 'splare-plugins\[pyterrier\]'"):
        get_engine(kind)
    with pytest.raises(MissingPartError, match=r"pip install 'splare-plugins\[pyterrier\]'"):
        make(kind, tmp_path / "index").index([GOOD])


@pytest.mark.slow
def test_without_pyterrier() -> None:
    code = """
import sys
sys.modules["pyterrier"] = None
from splare_plugins.engines import get_engine
for name in ("pisa", "terrier", "anserini", "seismic"):
    try:
        get_engine(name)
    except Exception as error:
        print(type(error).__name__, error)
"""
    lines = python(code).stdout.splitlines()
    assert len(lines) == 4
    assert all("MissingPartError" in line and "pip install 'splare-plugins[pyterrier]'" in line for line in lines)


def test_seismic_where_it_has_no_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(seismic_engine, "NO_WHEEL", True)
    with pytest.raises(MissingPartError, match=r"no wheel for Python 3\.12 or later: .*SplareIndex\.pisa"):
        seismic_engine.require_seismic()


def test_pisa_where_it_has_no_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    with pytest.raises(
        MissingPartError, match=r"Linux on x86-64 only, not for darwin on arm64; .*SplareIndex\.memory"
    ):
        PisaEngine()


@pytest.mark.parametrize("kind", ["memory", "pisa", pytest.param("seismic", marks=needs_seismic)])
def test_a_damaged_index(tmp_path: Path, kind: str) -> None:
    index = make(kind, tmp_path / "index").index(documents_of(random_impacts(50, 20)))
    for path in [path for path in (tmp_path / "index").iterdir() if path.name != "pt_meta.json"]:
        whole = path.read_bytes()
        path.write_bytes(whole[:-1])
        with pytest.raises(InputError, match=rf"damaged: {path.name} is missing or cut off"):
            make(kind, tmp_path / "index").searcher()
        path.unlink()
        with pytest.raises(InputError, match=path.name):
            make(kind, tmp_path / "index").searcher()
        path.write_bytes(whole)
    assert len(index.retriever()(queries_of(random_impacts(3, 20))))
