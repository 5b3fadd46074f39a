"""PISA: our writer against pyterrier_pisa's, and what its binding would do behind one's back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pyterrier_pisa import PisaIndex, PisaIndexEncoding, PisaQueryAlgorithm
from scipy.sparse import csr_array, vstack

from pyterrier_splare import SplareIndex
from pyterrier_splare.indexes.inverted import Inverter
from pyterrier_splare.indexes.pisa import ALGORITHMS, CONJUNCTIVE, ENCODINGS
from splare_plugins.errors import SplareError

from .kinds import assert_exact, documents_of, queries_of, random_impacts

DOCUMENTS, QUERIES = random_impacts(300, 60), random_impacts(40, 20, seed=1)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> SplareIndex:
    return SplareIndex.pisa(tmp_path_factory.mktemp("pisa") / "index").index(documents_of(DOCUMENTS))


def test_pyterrier_pisa_makes_the_same_lists(index: SplareIndex, tmp_path: Path) -> None:
    theirs = PisaIndex(str(tmp_path / "theirs"), stemmer="none")
    theirs.toks_indexer(scale=1.0).index(documents_of(DOCUMENTS).to_dict("records"))
    for name in ("inv.docs", "inv.freqs", "inv.sizes", "fwd.terms", "fwd.documents"):
        assert (Path(index.path) / name).read_bytes() == (tmp_path / "theirs" / name).read_bytes(), name


def test_pyterrier_pisa_searches_it_unmodified(index: SplareIndex) -> None:
    ours = index.retriever(num_results=20)(queries_of(QUERIES))
    for stock in (index.native(), PisaIndex(str(index.path))):
        theirs = stock.quantized(num_results=20, toks_scale=1.0)(queries_of(QUERIES))
        for column in ("qid", "docno", "score", "rank"):
            assert theirs[column].tolist() == ours[column].tolist()


@pytest.mark.parametrize("run_size", [1, 500, 3000, 1 << 24])
def test_runs_are_merged(tmp_path: Path, run_size: int) -> None:
    """As if all documents had been in memory at once, whatever was; batches may have different widths."""
    whole, parts = Inverter(tmp_path), Inverter(tmp_path, run_size=run_size)
    whole.add(DOCUMENTS.copy())
    for start in range(0, 300, 37):
        batch = DOCUMENTS[start : start + 37]
        used = int(batch.indices.max()) + 1
        parts.add(csr_array((batch.data, batch.indices, batch.indptr), shape=(batch.shape[0], used)))
    assert parts.write("parts") == whole.write("whole")
    for kind in ("docs", "freqs", "sizes"):
        assert (tmp_path / f"parts.{kind}").read_bytes() == (tmp_path / f"whole.{kind}").read_bytes()
    assert len(list(tmp_path.iterdir())) == 6


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("threads", [1, 4])
def test_every_algorithm_is_exact(index: SplareIndex, algorithm: str, threads: int) -> None:
    results = index.retriever(num_results=15, algorithm=algorithm, threads=threads)(queries_of(QUERIES))
    assert_exact(results, QUERIES, DOCUMENTS, 15)
    assert list(dict.fromkeys(results["qid"])) == [f"q{row}" for row in range(40) if row % 10 != 9]


@pytest.mark.parametrize("algorithm", CONJUNCTIVE)
def test_conjunctive_algorithms_want_every_latent(index: SplareIndex, algorithm: str) -> None:
    query = csr_array(([2, 3], ([0, 0], DOCUMENTS.indices[:2])), shape=(1, 512))
    found = index.retriever(algorithm=algorithm)(queries_of(query.astype(np.int32)))
    both = (DOCUMENTS.toarray()[:, query.indices] > 0).all(axis=1)
    assert {int(docno[1:]) for docno in found["docno"]} == set(np.flatnonzero(both).tolist())


def test_all_that_pisa_offers_is_offered() -> None:
    assert set(ALGORITHMS + CONJUNCTIVE) == {each.value for each in PisaQueryAlgorithm}
    assert set(ENCODINGS) == {each.value for each in PisaIndexEncoding}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_encodings(tmp_path: Path, encoding: str) -> None:
    from pyterrier_splare.indexes.pisa import PisaSearcher, PisaWriter

    with PisaWriter(tmp_path / "index", encoding=encoding) as writer:
        writer.add([f"d{row}" for row in range(300)], DOCUMENTS)
    products = np.sort((QUERIES.toarray() @ DOCUMENTS.toarray().T).max(axis=1))
    with PisaSearcher(tmp_path / "index") as searcher:
        best = [hits.scores[0] if len(hits.scores) else 0 for hits in searcher.search(QUERIES, 1)]
    assert np.sort(best).tolist() == products.tolist()


def test_more_documents_than_a_batch(tmp_path: Path) -> None:
    """pyterrier_pisa's own indexer mixes lists up beyond 100,000 documents; its batch size shows it with fewer."""
    many = csr_array(vstack([DOCUMENTS] * 3))
    index = SplareIndex.pisa(tmp_path / "index").indexer(batch_size=100).index(documents_of(many))
    assert_exact(index.retriever()(queries_of(QUERIES)), QUERIES, many, 1000)


def test_nothing_is_written_past_python(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    index = SplareIndex.pisa(tmp_path / "index").index(documents_of(DOCUMENTS))
    index.retriever()(queries_of(QUERIES))
    assert capfd.readouterr() == ("", "")


def test_a_failure_of_pisa_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pyterrier_splare.indexes import pisa

    monkeypatch.setattr(pisa, "_extension", lambda: str(tmp_path / "nothing.so"))
    with pytest.raises(SplareError, match=r"compressing with PISA failed \(.*nothing\.so"):
        SplareIndex.pisa(tmp_path / "index").index(documents_of(DOCUMENTS))
    assert list(tmp_path.iterdir()) == []
