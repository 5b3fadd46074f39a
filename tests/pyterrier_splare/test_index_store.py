"""What an index keeps of its documents, and what is made of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyterrier as pt
import pytest

from pyterrier_splare import Splare, SplareIndex
from splare_plugins.cli.app import main
from splare_plugins.errors import InputError
from splare_plugins.model.splare import SplareModel
from splare_plugins.retrieval.explain import explain
from tests.tiny import TEXTS

from .kinds import KINDS, make


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def titled(documents: pd.DataFrame) -> pd.DataFrame:
    return documents.assign(title=[f"title {number}" for number in range(len(documents))], year=2026)


@pytest.fixture
def index(splare: Splare, titled: pd.DataFrame, kind: str, tmp_path: Path) -> SplareIndex:
    made = make(kind, tmp_path / "index", model=splare)
    (splare.doc_encoder() >> made.indexer(store_text=True, store_vectors=True, batch_size=2)).index(
        titled.to_dict("records")
    )
    return made


def test_texts_and_vectors_come_back(
    splare: Splare, index: SplareIndex, kind: str, titled: pd.DataFrame, queries: pd.DataFrame, tmp_path: Path
) -> None:
    encoded = splare.doc_encoder()(titled)
    results = (splare.query_encoder() >> index.retriever())(queries)
    assert len(results) > 3
    expected = results[["docno"]].merge(encoded, on="docno")
    for loader in (index.text_loader(), pt.text.get_text(index), pt.text.get_text(index, ["text", "title"])):
        loaded = loader(results)
        assert loaded[["text", "title"]].equals(expected[["text", "title"]])
        assert len(loaded.columns) == len(results.columns) + 2
    assert index.text_loader("title")(results)["title"].equals(expected["title"])
    assert index.vec_loader()(results)["toks"].tolist() == expected["toks"].tolist()
    assert index.vec_loader()(results)["toks"][0].origin == encoded["toks"][0].origin
    again = pt.Artifact.load(str(tmp_path / "index"))
    corpus = pd.DataFrame(again.get_corpus_iter())
    assert corpus[["docno", "toks"]].equals(encoded[["docno", "toks"]])
    assert corpus[["text", "title"]].equals(titled[["text", "title"]])


@pytest.mark.parametrize("kind", ["memory"])
def test_scores_and_feedback_without_texts_or_a_model(
    splare: Splare, index: SplareIndex, queries: pd.DataFrame, tmp_path: Path
) -> None:
    search = splare.query_encoder() >> index.retriever()
    results = search(queries)
    shuffled = results.sample(frac=1, random_state=0)
    rescored = index.scorer()(shuffled.drop(columns=["score", "rank"]))
    assert rescored["score"].tolist() == shuffled["score"].tolist()
    assert rescored.index.equals(shuffled.index)
    # A cut behind the scorer is one by the new scores; before a loader it saves work.
    backwards = results.assign(score=-results["score"], rank=results.groupby("qid")["rank"].rank(ascending=False) - 1)
    cut = index.scorer() % 2
    pd.testing.assert_frame_equal(cut.compile()(backwards), cut(backwards))
    assert set(cut(backwards)["docno"]) == set((search % 2)(queries)["docno"])
    for loader in (index.text_loader(), index.vec_loader()):
        pd.testing.assert_frame_equal((loader % 2).compile()(results), (loader % 2)(results))
    expanded = search % 2 >> index.vec_loader() >> splare.rm3() >> index.retriever()
    encoded = search % 2 >> index.text_loader() >> splare.doc_encoder() >> splare.rm3() >> index.retriever()
    pd.testing.assert_frame_equal(expanded(queries), encoded(queries))
    copied = SplareIndex.memory(tmp_path / "copy", model=splare)
    copied.indexer(store_text=True).index(index.get_corpus_iter())
    pd.testing.assert_frame_equal((splare.query_encoder() >> copied.retriever())(queries), results)
    rewrite = pt.apply.query(lambda row: "states")
    with pytest.raises(InputError, match="was rewritten"):
        (search >> rewrite >> index.scorer())(queries)


def test_a_frame_keeps_its_texts(splare: Splare, documents: pd.DataFrame, kind: str, tmp_path: Path) -> None:
    index = make(kind, tmp_path / "index")
    index.indexer(store_text=True).index(splare.doc_encoder()(documents))
    assert index.text_loader()(pd.DataFrame({"docno": ["d4", "d0"]}))["text"].tolist() == [TEXTS[4], TEXTS[0]]


@pytest.mark.parametrize("kind", ["memory"])
def test_what_was_not_kept(splare: Splare, index: SplareIndex, titled: pd.DataFrame, tmp_path: Path) -> None:
    encoded = splare.doc_encoder()(titled)
    bare = SplareIndex.memory(tmp_path / "bare").index(encoded)
    assert not (tmp_path / "bare" / "stored.arrow").exists()
    for ask in (bare.vec_loader, bare.scorer, bare.get_corpus_iter):
        with pytest.raises(InputError, match=r"no vectors of its documents; .*indexer\(store_vectors=True\)"):
            ask()
    with pytest.raises(InputError, match=r"no column 'text' of its documents; .*indexer\(store_text=True\)"):
        bare.text_loader()
    with pytest.raises(InputError, match="no column 'year'"):
        index.text_loader(["title", "year"])
    with pytest.raises(InputError, match="docno 'nowhere' is not in the index"):
        index.text_loader()(pd.DataFrame({"docno": ["d1", "nowhere"]}))
    assert list(index.text_loader()(pd.DataFrame({"docno": []})).columns) == ["docno", "text", "title"]
    with pytest.raises(InputError, match="there is no index"):
        SplareIndex.memory(tmp_path / "none").text_loader()
    records: list[dict[str, Any]] = encoded.to_dict("records")
    for wrong, words in (({"text": None}, "has None in the column 'text'"), ({}, "no text to store")):
        broken = [{"docno": "a", "toks": {"f1": 1}, **wrong}]
        with pytest.raises(InputError, match=words):
            bare.indexer(overwrite=True, store_text=True).index(broken if not wrong else [records[0], *broken])
    assert len(bare) == len(titled)


@pytest.mark.parametrize("kind", ["memory", "pisa"])
def test_overwriting_is_said_where_the_index_is_made_or_where_it_is_built(kind: str, tmp_path: Path) -> None:
    first, second = [{"docno": "a", "toks": {"f1": 1}}], [{"docno": "b", "toks": {"f1": 1}}]
    make(kind, tmp_path / "index").index(first)
    with pytest.raises(InputError, match=r"exists already; .*overwrite=True"):
        make(kind, tmp_path / "index").index(second)
    with pytest.raises(InputError, match="exists already"):
        make(kind, tmp_path / "index", overwrite=True).indexer(overwrite=False).index(second)
    assert len(make(kind, tmp_path / "index", overwrite=True).index(first + second)) == 2


@pytest.mark.parametrize("kind", KINDS[1:])  # one in memory is read by an engine that knows nothing of PyTerrier
def test_the_program_explains_by_the_texts_of_an_index(
    index: SplareIndex, tiny: SplareModel, tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main(["explain", *arguments, "--index", str(tmp_path / "index"), "-M", str(tiny_folder), "--json"])
        return (int(stop.value.code or 0), *capsys.readouterr())

    status, out, err = run("a quick fox", "d0")
    assert status == 0, err
    assert json.loads(out) == json.loads(
        json.dumps(explain(tiny, "a quick fox", f"title 0 {TEXTS[0]}", docid="d0").to_dict())
    )
    assert run("a quick fox", "nothing")[0] == 2


def test_without_texts_the_program_says_what_to_name(
    splare: Splare, documents: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = SplareIndex.pisa(tmp_path / "index", model=splare)
    (splare.doc_encoder() >> made.indexer()).index(documents.to_dict("records"))
    with pytest.raises(SystemExit) as stop:
        main(["explain", "a quick fox", "d0", "--index", str(tmp_path / "index")])
    assert stop.value.code == 2
    assert "name its corpus with --corpus" in capsys.readouterr().err
