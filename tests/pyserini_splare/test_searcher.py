"""Exact scores, whatever the query looks like, and one sentence for an index that cannot be searched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from pyserini_splare import LuceneSearcher
from splare_plugins.errors import InputError

from .conftest import best, impacts_of, names, products, random_impacts, write

pytestmark = [pytest.mark.java, pytest.mark.usefixtures("jvm")]

DOCUMENTS = random_impacts(300, 60, seed=1)


@pytest.fixture(scope="module")
def index(jvm: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("searcher") / "index"
    write(path, DOCUMENTS)
    return path


def assert_exact(searcher: LuceneSearcher, queries: csr_array, documents: csr_array, k: int) -> None:
    docids = names(documents.shape[0])
    answers = searcher.search(queries, k)
    for hits, scores in zip(answers, products(queries, documents), strict=True):
        assert (hits.docids, hits.scores.tolist()) == best(scores, docids, k)


@settings(max_examples=30, deadline=None)
@given(
    query=st.dictionaries(st.integers(0, 499), st.integers(1, 2**24), min_size=1, max_size=30),
    k=st.integers(1, 400),
)
def test_any_query(index: Path, query: dict[int, int], k: int) -> None:
    with LuceneSearcher(index) as searcher:
        assert_exact(searcher, impacts_of(query), DOCUMENTS, k)


@pytest.mark.parametrize("top", [255, 70_000])
@pytest.mark.parametrize("k", [1, 7, 100])
def test_beyond_float32(tmp_path: Path, top: int, k: int) -> None:
    """1,500 features of 8 bits on either side add up to 97 million; float32 holds every integer up to 16 million."""
    rng = np.random.default_rng(0)
    dense = rng.integers(top // 2, top + 1, size=(60, 1500)).astype(np.int32)
    # Many documents whose scores differ by less than float32 can tell.
    dense[10:40] = dense[9]
    dense[10:40, 0] = np.arange(30) % 4 + 1
    documents = csr_array(dense)
    write(tmp_path / "index", documents)
    queries = csr_array(np.vstack([np.full(1500, 255), rng.integers(1, 256, size=1500)]).astype(np.int32))
    assert products(queries, documents).max() > 1 << 24
    with LuceneSearcher(tmp_path / "index") as searcher:
        assert_exact(searcher, queries, documents, k)


def test_more_than_1024_features(index: Path) -> None:
    queries = impacts_of({latent: latent % 7 + 1 for latent in range(1500)}, width=2000)
    wide = csr_array((DOCUMENTS.data, DOCUMENTS.indices, DOCUMENTS.indptr), shape=(300, 2000))
    with LuceneSearcher(index) as searcher:
        assert_exact(searcher, queries, wide, 50)


def test_ubiquitous_features_count(tmp_path: Path) -> None:
    documents = impacts_of({0: 5, 1: 1}, {0: 7}, {0: 5})
    write(tmp_path / "index", documents)
    with LuceneSearcher(tmp_path / "index") as searcher:
        assert_exact(searcher, impacts_of({0: 3, 1: 1}), documents, 10)


def test_float_weights(index: Path) -> None:
    rng = np.random.default_rng(3)
    queries = random_impacts(5, 20, seed=6).astype(np.float32)
    queries.data = rng.random(queries.nnz, dtype=np.float32) * rng.choice([1e-6, 1.0, 1e4], queries.nnz).astype("f4")
    truth = queries.toarray().astype(np.float64) @ DOCUMENTS.toarray().T
    with LuceneSearcher(index) as searcher:
        for hits, scores in zip(searcher.search(queries, 300), truth, strict=True):
            own = dict(zip(names(300), scores, strict=True))
            np.testing.assert_allclose(hits.scores, [own[docid] for docid in hits.docids], rtol=1e-5)
            assert set(hits.docids) == {docid for docid, score in own.items() if score > 0}
            assert (np.diff(hits.scores) <= 0).all()


@pytest.mark.parametrize("weight", [np.int64(3), np.int32(3), np.float32(3), np.float64(3), 3, 3.0])
def test_numbers_of_every_kind(index: Path, weight: float) -> None:
    with LuceneSearcher(index) as searcher:
        plain = searcher.search_dicts([{"f7": 3, "f8": 3}], 10)[0]
        hits = searcher.search_dicts([{"f7": weight, "f8": weight}], 10)[0]
    assert hits.docids == plain.docids
    assert hits.scores.tolist() == plain.scores.tolist()


def test_weights_of_0_and_less_add_nothing(index: Path) -> None:
    with LuceneSearcher(index) as searcher:
        plain = searcher.search_dicts([{"f7": 3}], 300)[0]
        hits, nothing = searcher.search_dicts([{"f7": 3, "f8": 0, "f9": -2, "f10": -0.0}, {"f7": 0}], 300)
    assert hits.docids == plain.docids
    assert nothing.docids == []
    assert nothing.scores.shape == (0,)


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), 2**24 + 1, "3", None])
def test_weights_that_are_none(index: Path, weight: float) -> None:
    with LuceneSearcher(index) as searcher, pytest.raises(InputError, match="'f7'"):
        searcher.search_dicts([{"f7": weight}], 1)


def test_terms_that_a_query_parser_would_read_otherwise(index: Path, tmp_path: Path) -> None:
    import json

    from pyserini_splare.jvm import java_class

    terms = ["AND", "OR", "a:b", "*", "f1~", '"', "\\", "über", "[x", "-f1", "f1^2", "f7"]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").write_text(
        json.dumps({"id": "x", "contents": "", "vector": dict.fromkeys(terms, 2)})
    )
    arguments = ["-collection", "JsonVectorCollection", "-input", str(tmp_path / "in")]
    arguments += ["-index", str(tmp_path / "index"), "-generator", "DefaultLuceneDocumentGenerator"]
    java_class("io.anserini.index.IndexCollection").main(
        [*arguments, "-threads", "1", "-impact", "-pretokenized", "-quiet"]
    )
    with LuceneSearcher(tmp_path / "index") as searcher:
        assert searcher.config is None
        assert searcher.identity == {}
        for term in terms:
            assert searcher.search_dicts([{term: 5}], 1)[0].scores.tolist() == [10], term
        assert searcher.search_dicts([dict.fromkeys(terms, 0.5)], 1)[0].scores.tolist() == [len(terms)]


def test_ties_are_in_the_order_of_ids(tmp_path: Path) -> None:
    docids = ["b", "a", "10", "9", "ü"]
    write(tmp_path / "index", impacts_of(*[{1: 4}] * 5), docids)
    with LuceneSearcher(tmp_path / "index") as searcher:
        for k in (1, 3, 5):
            assert searcher.search(impacts_of({1: 2}), k)[0].docids == ["10", "9", "a", "b", "ü"][:k]


def test_statistics(index: Path, tmp_path: Path) -> None:
    with LuceneSearcher(index) as searcher:
        assert searcher.statistics() == {
            "terms": len(np.unique(DOCUMENTS.indices)),
            "postings": DOCUMENTS.nnz,
            "impacts": int(DOCUMENTS.data.sum()),
        }
    write(tmp_path / "empty", impacts_of({}))
    with LuceneSearcher(tmp_path / "empty") as searcher:
        assert searcher.statistics() == {"terms": 0, "postings": 0, "impacts": 0}


@pytest.mark.parametrize("store", [{"store_vectors": True}, {"store_text": True}, {"store_raw": True}, {}])
def test_vectors_come_back(tmp_path: Path, store: dict[str, bool]) -> None:
    from pyserini_splare import LuceneWriter

    documents = impacts_of({1: 255, 7: 1}, {}, {9: 70_000})
    rows = [{"vector": {"f1": 255, "f7": 1}}, {"vector": {}}, {"vector": {"f9": 70_000}}]
    with LuceneWriter(tmp_path / "index", **store) as writer:  # type: ignore[arg-type]
        writer.add(names(3), documents, rows)
    with LuceneSearcher(tmp_path / "index") as searcher:
        vectors = [searcher.vector(docid) for docid in names(3)]
        assert searcher.vector("nowhere") is None
        assert searcher.document_frequency("f1") == 1
        assert searcher.document_frequency("f2") == 0
    if store:
        # Lucene keeps no vector of an empty document.
        assert [vector or {} for vector in vectors] == [row["vector"] for row in rows]
    else:
        assert vectors == [None] * 3


def test_a_closed_searcher(index: Path) -> None:
    searcher = LuceneSearcher(index)
    searcher.close()
    searcher.close()
    with pytest.raises(InputError, match="closed"):
        searcher.search(impacts_of({1: 1}), 1)


def test_a_text_index_is_refused(tmp_path: Path) -> None:
    from pyserini_splare.lucene import lucene, open_directory

    writer = lucene("index.IndexWriter")(open_directory(tmp_path), lucene("index.IndexWriterConfig")())
    document = lucene("document.Document")()
    document.add(lucene("document.StringField")("name", "x", lucene("document.Field$Store").YES))
    writer.addDocument(document)
    writer.close()
    with pytest.raises(InputError, match="holds no impacts"):
        LuceneSearcher(tmp_path)


@pytest.mark.parametrize("suffix", ["segments_1", ".doc", ".tim", ".dvd", ".fdt", ".si", ".fnm"])
@pytest.mark.parametrize("kept", [0, 20])
def test_every_truncated_file_is_noticed(index: Path, tmp_path: Path, suffix: str, kept: int) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(index, copy)
    (file,) = (path for path in copy.iterdir() if path.name.endswith(suffix))
    with file.open("r+b") as stream:
        stream.truncate(kept)
    with pytest.raises(InputError, match="copy cannot be opened") as caught:
        LuceneSearcher(copy)
    assert "\n" not in str(caught.value)
    assert "make it again" in str(caught.value)


def test_an_index_of_a_later_lucene(index: Path, tmp_path: Path) -> None:
    import shutil
    import zlib

    copy = tmp_path / "copy"
    shutil.copytree(index, copy)
    segments = copy / "segments_1"
    # The version that wrote the index, then the major version that created it: the next one did both.
    with LuceneSearcher(index) as searcher:
        version = bytes(map(int, searcher.identity["lucene"].split(".")))
    body = bytearray(segments.read_bytes())
    written = body.index(version)
    created = body.index(version[0], written + len(version))
    body[written] = body[created] = version[0] + 1
    body[-8:] = zlib.crc32(body[:-8]).to_bytes(8, "big")
    segments.write_bytes(body)
    with pytest.raises(InputError, match="another version of Lucene"):
        LuceneSearcher(copy)
