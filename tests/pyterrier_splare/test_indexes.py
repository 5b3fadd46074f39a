"""All five indexes are the same thing behind one word."""

from __future__ import annotations

import pickle
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub
import pandas as pd
import pyterrier as pt
import pytest
import torch
from scipy.sparse import csr_array

from pyterrier_splare import Splare, SplareIndex
from splare_plugins.corpus import EncodedFolder
from splare_plugins.errors import InputError
from splare_plugins.retrieval.indexing import encode_shard
from tests.tiny import TEXTS

from .kinds import EXACT, KINDS, assert_exact, documents_of, make, queries_of, random_impacts

DOCUMENTS, QUERIES = random_impacts(120, 40), random_impacts(23, 20, seed=1)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def index(kind: str, tmp_path: Path) -> SplareIndex:
    return make(kind, tmp_path / "index").index(documents_of(DOCUMENTS))


@pytest.fixture(scope="session")
def encoded(splare: Splare, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny texts, encoded once into shards."""
    folder = tmp_path_factory.mktemp("encoded")
    corpus = folder / "corpus.tsv"
    corpus.write_text("".join(f"d{number}\t{text}\n" for number, text in enumerate(TEXTS)), encoding="utf-8")
    encode_shard(splare.model, corpus, folder / "shards", part_size=2)
    return folder / "shards"


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a server of the files in ``folder``."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def exact(index: SplareIndex, kind: str, **options: Any) -> pt.Transformer:
    return index.retriever(**EXACT.get(kind, {}), **options)


@pytest.mark.parametrize("k", [1, 10, 1000])
def test_exact(index: SplareIndex, kind: str, k: int) -> None:
    results = exact(index, kind, num_results=k)(queries_of(QUERIES))
    assert_exact(results, QUERIES, DOCUMENTS, k)
    assert list(results["qid"].drop_duplicates()) == [
        qid for qid in queries_of(QUERIES)["qid"] if qid in set(results["qid"])
    ]


def test_other_columns_stay(index: SplareIndex, kind: str) -> None:
    queries = queries_of(QUERIES).assign(query="text", extra=range(QUERIES.shape[0]))
    results = exact(index, kind)(queries)
    assert list(results.columns) == ["qid", "query_toks", "query", "extra", "docno", "score", "rank"]
    first = results.iloc[0]
    assert first["query_toks"] == queries.set_index("qid").loc[first["qid"], "query_toks"]


def test_frames_streams_and_batches_make_the_same_index(kind: str, tmp_path: Path, encoded: Path) -> None:
    folder = EncodedFolder(encoded)
    records = list(Splare.from_encoded(encoded))
    sources = {
        "frame": pd.DataFrame(records),
        "stream": iter(records),
        "folder": folder,
        "path": str(encoded),
        "from_encoded": Splare.from_encoded(encoded),
        "batches": folder.batches(),
    }
    query = pd.DataFrame({"qid": ["q"], "query_toks": [records[0]["toks"]]})
    answers = {}
    for name, source in sources.items():
        built = make(kind, tmp_path / name, model=folder.config).indexer(batch_size=2).index(source)
        assert len(built) == len(TEXTS)
        assert built.config == folder.config
        answers[name] = exact(built, kind)(query)[["docno", "score"]].values.tolist()
    assert all(answer == answers["frame"] for answer in answers.values())
    assert answers["frame"][0][0] == "d0"


def test_pipelines(kind: str, tmp_path: Path, splare: Splare, documents: pd.DataFrame, queries: pd.DataFrame) -> None:
    index = make(kind, tmp_path / "index", model=splare)
    (splare.doc_encoder() >> index.indexer()).index(documents.to_dict("records"))
    results = (splare.query_encoder() >> exact(index, kind))(queries)
    weights = splare.encode_queries(queries["query"].tolist()), splare.encode_documents(TEXTS)
    truth = (weights[0].astype(float) @ weights[1].astype(float).T).toarray()
    for _, row in results.iterrows():
        assert row["score"] == truth[int(row["qid"][1:]) - 1, int(row["docno"][1:])]
    assert len(results) == (truth > 0).sum()
    cut = ((splare.query_encoder() >> exact(index, kind)) % 2).compile()
    assert cut(queries)[["qid", "docno", "score"]].equals(
        results[results["rank"] < 2][["qid", "docno", "score"]].reset_index(drop=True)
    )


def test_rank_cutoffs_reach_the_index(index: SplareIndex, kind: str) -> None:
    retriever = exact(index, kind, num_results=50)
    assert repr((retriever % 7).compile()) == repr(exact(index, kind, num_results=7))
    assert retriever.fuse_rank_cutoff(70) is None
    assert repr(retriever) != repr(exact(index, kind, num_results=51))


def test_empty_frames_and_queries(index: SplareIndex, kind: str) -> None:
    retriever = exact(index, kind)
    results = retriever(pd.DataFrame({"qid": ["1", "2"], "query_toks": [{}, {}]}))
    assert len(results) == 0
    assert set(results.columns) == {"qid", "query_toks", "docno", "score", "rank"}
    assert len(retriever(pd.DataFrame({"qid": [], "query_toks": []}))) == 0


@pytest.mark.parametrize("kind", ["pisa"])
def test_inspection(index: SplareIndex) -> None:
    class Inspection(pt.testing.transformer_test_class(lambda: index.retriever())):  # type: ignore[misc]
        pass

    inspection = Inspection()
    inspection.setUpClass()
    inspection.test_inspect_io()
    inspection.test_schematic()
    assert pt.inspect.transformer_inputs(index.retriever()) == [["qid", "query_toks"]]
    assert pt.inspect.indexer_inputs(index.indexer()) == [["docno", "toks"]]
    changed = pt.inspect.transformer_apply_attributes(index.retriever(), num_results=3)
    assert repr(changed) == repr(index.retriever(num_results=3))


def test_inspection_opens_nothing(kind: str, tmp_path: Path) -> None:
    retriever = make(kind, tmp_path / "nowhere").retriever()
    columns = pt.inspect.transformer_outputs(retriever, ["qid", "query_toks"])
    assert columns == ["qid", "query_toks", "docno", "score", "rank"]


def test_an_index_is_an_artifact(index: SplareIndex, kind: str, tmp_path: Path) -> None:
    loaded = pt.Artifact.load(str(tmp_path / "index"))
    assert type(loaded) is type(index)
    assert loaded == index
    assert len(loaded) == index.num_docs() == 120
    assert repr(pickle.loads(pickle.dumps(exact(index, kind)))) == repr(exact(index, kind))
    moved = tmp_path / "moved"
    index.close()
    shutil.move(str(tmp_path / "index"), moved)
    assert_exact(exact(make(kind, moved), kind)(queries_of(QUERIES)), QUERIES, DOCUMENTS, 1000)


def test_there_and_back_through_the_hub(
    index: SplareIndex, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyTerrier's own upload and download, with a folder and a server of this machine in the hub's place."""
    from pyterrier import _artifact

    hub = tmp_path / "hub"
    monkeypatch.setenv("PYTERRIER_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(huggingface_hub, "create_repo", lambda *_, **__: None)
    monkeypatch.setattr(huggingface_hub, "create_branch", lambda *_, **__: None)
    monkeypatch.setattr(huggingface_hub, "upload_folder", lambda folder_path, **_: shutil.copytree(folder_path, hub))
    index.to_hf("somebody/index")
    assert index.ARTIFACT_FORMAT in (hub / "README.md").read_text(encoding="utf-8")
    with served(hub) as address:
        archive = _artifact.UrlResolverResult(f"{address}/artifact.tar.lz4", {})
        monkeypatch.setattr(_artifact, "_hf_url_resolver", lambda _: archive)
        fetched = pt.Artifact.from_hf("somebody/index")
    assert type(fetched) is type(index)
    assert_exact(exact(fetched, kind)(queries_of(QUERIES)), QUERIES, DOCUMENTS, 1000)


def test_replacing_an_index(index: SplareIndex, kind: str) -> None:
    query = queries_of(QUERIES)
    exact(index, kind)(query)
    other = random_impacts(30, 10, seed=5)
    index.indexer(overwrite=True).index(documents_of(other))
    assert_exact(exact(index, kind)(query), QUERIES, other, 1000)


def test_in_memory_without_a_place() -> None:
    index = SplareIndex.memory()
    assert index
    assert not index.built()
    index.index(documents_of(DOCUMENTS))
    assert_exact(index.retriever()(queries_of(QUERIES)), QUERIES, DOCUMENTS, 1000)
    with pytest.raises(TypeError, match="give it one"):
        pickle.dumps(index)
    place = Path(index.path)
    del index
    assert not place.exists()


def test_in_memory_with_torch() -> None:
    """``device`` is handed down and is a setting like any other; a GPU runs the same code."""
    index = SplareIndex.memory().index(documents_of(DOCUMENTS))
    retriever = index.retriever(num_results=7, device=torch.device("cpu"))
    assert_exact(retriever(queries_of(QUERIES)), QUERIES, DOCUMENTS, 7)
    pd.testing.assert_frame_equal(retriever(queries_of(QUERIES)), index.retriever(num_results=7)(queries_of(QUERIES)))
    retriever.device = "gpu"
    with pytest.raises(InputError, match="cannot search on the device gpu here"):
        retriever(queries_of(QUERIES))


def test_scores_add_up_across_indexes(tmp_path: Path) -> None:
    """What PyTerrier's operators do with scores works, because all of them are dot products."""
    documents = documents_of(csr_array(DOCUMENTS))
    one, other = (make(kind, tmp_path / kind).index(documents).retriever() for kind in ("pisa", "memory"))
    query = queries_of(QUERIES)
    both = (one + other)(query).set_index(["qid", "docno"])["score"]
    alone = one(query).set_index(["qid", "docno"])["score"]
    assert (both == 2 * alone.loc[both.index]).all()


def test_an_index_that_another_object_has_built_anew(index: SplareIndex, kind: str, tmp_path: Path) -> None:
    retriever = exact(index, kind)
    assert_exact(retriever(queries_of(QUERIES)), QUERIES, DOCUMENTS, 1000)
    fewer = DOCUMENTS[:70]
    make(kind, tmp_path / "index").indexer(overwrite=True).index(documents_of(fewer))
    assert len(index) == 70
    assert_exact(retriever(queries_of(QUERIES)), QUERIES, fewer, 1000)


@pytest.mark.parametrize(
    "docno", ["\ufeffd1", " d1", "d1 ", "d1\t", "d\x001", "d 1", "\u3000d1", "d1\u2028", "D\u0130"]
)
def test_a_docno_comes_back_as_it_was_given_or_is_refused(kind: str, docno: str, tmp_path: Path) -> None:
    index = make(kind, tmp_path / "index")
    try:
        index.index([{"docno": docno, "toks": {"f1": 5}}, {"docno": "other", "toks": {"f1": 3}}])
    except InputError as error:
        assert repr(docno) in str(error)
        assert not index.built()
    else:
        found = exact(index, kind)(pd.DataFrame({"qid": ["1"], "query_toks": [{"f1": 2}]}))
        assert found["docno"].tolist() == [docno, "other"]


def test_the_order_of_documents_with_equal_scores(kind: str, tmp_path: Path) -> None:
    docnos = [f"d{(number * 37) % 100:02d}" for number in range(100)]
    index = make(kind, tmp_path / "index").index([{"docno": docno, "toks": {"f1": 3}} for docno in docnos])
    queries = pd.DataFrame({"qid": ["1"], "query_toks": [{"f1": 2}]})
    expected = sorted(docnos) if kind == "anserini" else docnos
    for count in (100, 20):
        assert exact(index, kind, num_results=count)(queries)["docno"].tolist() == expected[:count]
