"""Seismic: presets, recall, and builds that end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array

from pyterrier_splare import SplareIndex
from pyterrier_splare.indexes import SeismicSplareIndex
from pyterrier_splare.indexes.seismic_engine import BUILD, SeismicSearcher, SeismicWriter
from splare_plugins.errors import InputError
from tests.wheels import needs_seismic

from .kinds import assert_exact, queries_of
from .vectors import names, topical_vectors

pytestmark = needs_seismic
ROWS = 1500


@pytest.fixture(scope="module")
def vectors() -> tuple[csr_array, csr_array]:
    return topical_vectors(ROWS, 60, latents=100)


@pytest.fixture(scope="module")
def index(vectors: tuple[csr_array, csr_array], tmp_path_factory: pytest.TempPathFactory) -> SeismicSplareIndex:
    place = tmp_path_factory.mktemp("seismic") / "index"
    with SeismicWriter(place, None) as writer:
        for start in range(0, ROWS, 1000):
            writer.add(names(ROWS)[start : start + 1000], vectors[0][start : start + 1000])
    return SplareIndex.seismic(place)


def test_exhaustive_is_exact(index: SeismicSplareIndex, vectors: tuple[csr_array, csr_array]) -> None:
    results = index.retriever(num_results=100, preset="exhaustive", threads=2)(queries_of(vectors[1]))
    assert_exact(results, vectors[1], vectors[0], 100)


@pytest.mark.parametrize("preset", ["fast", "paper"])
def test_presets_find_nearly_all(index: SeismicSplareIndex, vectors: tuple[csr_array, csr_array], preset: str) -> None:
    queries = queries_of(vectors[1])
    assert index.recall(queries, k=10, preset=preset) >= 0.95
    results = index.retriever(num_results=50, preset=preset)(queries)
    own = (vectors[1].astype(np.int64) @ vectors[0].astype(np.int64).T).toarray()
    assert [own[int(row.qid[1:]), int(row.docno[1:])] for row in results.itertuples()] == results["score"].tolist()
    assert (results.groupby("qid")["score"].diff().fillna(0) <= 0).all()
    assert list(dict.fromkeys(results["qid"])) == queries["qid"].tolist()


def test_recall_counts_what_is_missing(index: SeismicSplareIndex, vectors: tuple[csr_array, csr_array]) -> None:
    queries = queries_of(vectors[1])
    assert index.recall(queries, preset="exhaustive") == 1
    hasty = index.recall(queries, k=10, query_cut=2, heap_factor=1.0)
    assert hasty < index.recall(queries, k=10)
    truth = index.retriever(num_results=10, preset="exhaustive")(queries)
    found = index.retriever(num_results=10, query_cut=2, heap_factor=1.0)(queries)
    # No ties here, so that recall is the share of common documents.
    common = truth.merge(found, on=["qid", "docno"])
    assert hasty == pytest.approx(len(common) / len(truth), abs=0.02)
    with pytest.raises(InputError, match="no recall to measure"):
        index.recall(pd.DataFrame({"qid": ["q"], "query_toks": [{}]}))


def test_query_cut_and_heap_factor_reach_seismic(
    index: SeismicSplareIndex, vectors: tuple[csr_array, csr_array]
) -> None:
    queries = queries_of(vectors[1])
    recalls = [index.recall(queries, query_cut=cut, heap_factor=0.0) for cut in (1, 5, 40)]
    assert recalls == sorted(recalls)
    assert recalls[0] < recalls[-1]


def test_building_follows_the_corpus(
    index: SeismicSplareIndex, vectors: tuple[csr_array, csr_array], tmp_path: Path
) -> None:
    mean = vectors[0].nnz / len(np.unique(vectors[0].indices))
    assert index.meta["build"]["n_postings"] == max(30, round(0.2 * mean))
    other = SplareIndex.seismic(tmp_path / "index")
    other.indexer(n_postings=7, doc_cut=5, threads=1).index([{"docno": "d", "toks": {"f1": 1}}])
    assert other.meta["build"] == {**BUILD, "n_postings": 7, "doc_cut": 5}


@pytest.mark.parametrize(("distinct", "classes"), [(3, ""), pytest.param(66_000, "LV", marks=pytest.mark.slow)])
def test_any_number_of_latents(tmp_path: Path, distinct: int, classes: str) -> None:
    """What counts is how many occur."""
    width = 1 << 20
    impacts = csr_array(([5, 7, 9], ([0, 1, 1], [0, width - 1, 3])), shape=(2, width)).astype(np.int32)
    with SeismicWriter(tmp_path / "index") as writer:
        writer.add(["a", "b"], impacts)
        for start in range(1000, 1000 + distinct - 3, 50):
            writer.add([str(start)], csr_array(([1] * 50, ([0] * 50, range(start, start + 50))), shape=(1, width)))
    for preset in ("exhaustive", "fast", "paper"):
        with SeismicSearcher(tmp_path / "index", preset=preset) as searcher:
            assert searcher.meta["classes"] == classes
            hits = searcher.search(impacts, 5)
            assert [(each.docids, each.scores.tolist()) for each in hits] == [(["a"], [25.0]), (["b"], [130.0])]


def test_the_largest_impact_is_kept(tmp_path: Path) -> None:
    index = SplareIndex.seismic(tmp_path / "index")
    index.index([{"docno": str(impact), "toks": {"f1": impact}} for impact in (2048, 2047, 2046)])
    for preset in ("exhaustive", "fast"):
        results = index.retriever(preset=preset)(pd.DataFrame({"qid": ["q"], "query_toks": [{"f1": 3}]}))
        assert results["score"].tolist() == [6144, 6141, 6138]


def test_nothing_is_written_past_python(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    index = SplareIndex.seismic(tmp_path / "index").index([{"docno": "d", "toks": {"f1": 1}}])
    for preset in ("exhaustive", "fast"):
        index.retriever(preset=preset)(pd.DataFrame({"qid": ["q"], "query_toks": [{"f1": 3}]}))
    assert capfd.readouterr() == ("", "")
