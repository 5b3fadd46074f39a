"""What an approximate index finds with each of its settings, and the choice among them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array

from splare_plugins.engines import Hits, get_engine
from splare_plugins.errors import InputError
from splare_plugins.impacts import keep_largest
from splare_plugins.retrieval.tuning import Trial, choose, recall, tune
from tests.wheels import needs_seismic

from .vectors import names, topical_vectors


@pytest.fixture(scope="module")
def vectors() -> tuple[csr_array, csr_array]:
    return topical_vectors(600, 30, latents=100)


def built(kind: str, folder: Path, documents: csr_array) -> str:
    with get_engine(kind).writer(str(folder), None) as writer:
        writer.add(names(documents.shape[0]), documents)
    return str(folder)


def products(queries: csr_array, documents: csr_array) -> np.ndarray:
    scores: np.ndarray = (queries.astype(np.int64) @ documents.astype(np.int64).T).toarray()
    return scores


def expected_recall(scores: np.ndarray, cut: np.ndarray, k: int) -> float:
    """Of the best by ``cut``, how many are among the best by ``scores``; a tie counts."""
    best = np.argsort(-cut, axis=1, kind="stable")[:, :k]
    least = np.sort(scores, axis=1)[:, [-k]]
    return float((np.take_along_axis(scores, best, axis=1) >= least).mean())


def test_cut_queries_find_what_their_products_say(vectors: tuple[csr_array, csr_array], tmp_path: Path) -> None:
    documents, queries = vectors
    location = built("memory", tmp_path / "index", documents)
    done: list[int] = []
    trials = tune(get_engine("memory"), location, queries, k=5, cuts=[20, 4, 99], on_progress=done.append)
    assert [trial.top_k for trial in trials] == [None, 20, 4]  # no query has 99 latents
    assert len(done) == len(trials)
    scores = products(queries, documents)
    for trial, size in zip(trials, (None, 20, 4), strict=True):
        cut = products(keep_largest(queries, size), documents)
        assert trial.recall == pytest.approx(expected_recall(scores, cut, 5), abs=1e-9)
    assert trials[0].recall == 1 > trials[1].recall > trials[2].recall
    assert all(0 < trial.median_ms <= trial.p99_ms for trial in trials)


def test_exact_algorithms_differ_in_speed_alone(vectors: tuple[csr_array, csr_array], tmp_path: Path) -> None:
    documents, queries = vectors
    engine = get_engine("pisa")
    trials = tune(engine, built("pisa", tmp_path / "index", documents), queries, k=5, cuts=[])
    assert [dict(trial.settings) for trial in trials] == engine.candidates  # type: ignore[attr-defined]
    assert {trial.recall for trial in trials} == {1.0}


@needs_seismic
def test_an_approximate_engine_is_measured_against_its_exact_search(
    vectors: tuple[csr_array, csr_array], tmp_path: Path
) -> None:
    documents, queries = vectors
    engine = get_engine("seismic")
    location = built("seismic", tmp_path / "index", documents)
    trials = tune(engine, location, queries, k=5)
    assert trials[0].settings == {"preset": "exhaustive"}
    assert trials[0].recall == 1
    assert min(trial.recall for trial in trials) < 0.9  # else there would be nothing to choose
    scores = products(queries, documents)
    for trial in trials[:: len(trials) // 4]:
        with engine.searcher(location, **trial.settings) as searcher:
            found = searcher.search(queries, 5)
        shares = [(hits.scores >= np.sort(row)[-5]).sum() / 5 for hits, row in zip(found, scores, strict=True)]
        assert trial.recall == pytest.approx(float(np.mean(shares)), abs=1e-9)
    best = choose(trials, 0.9)
    assert best.recall >= 0.9
    assert all(best.median_ms <= trial.median_ms for trial in trials if trial.recall >= 0.9)


def test_a_tie_with_the_last_of_the_best_is_as_good() -> None:
    exact = Hits(["a", "b", "c", "d"], np.array([9.0, 5, 5, 2]))
    assert recall([Hits(["a", "c"], np.array([9.0, 5]))], [exact], 2) == 1
    assert recall([Hits(["a", "d"], np.array([9.0, 2]))], [exact], 2) == 0.5
    assert recall([Hits([], np.zeros(0))], [exact], 2) == 0
    # One document is all that there is to find.
    assert recall([Hits(["a"], np.array([9.0]))], [Hits(["a"], np.array([9.0]))], 10) == 1


def test_the_exact_search_is_chosen_where_nothing_else_finds_enough() -> None:
    exact = Trial(settings={}, top_k=None, recall=1.0, median_ms=9.0, p99_ms=9.0)
    fast = Trial(settings={}, top_k=5, recall=0.98, median_ms=1.0, p99_ms=1.0)
    assert choose([exact, fast], 0.99) is exact
    assert choose([exact, fast], 0.98) is fast


def test_queries_without_an_answer_measure_nothing(vectors: tuple[csr_array, csr_array], tmp_path: Path) -> None:
    documents, queries = vectors
    location = built("memory", tmp_path / "index", documents)
    with pytest.raises(InputError, match="none of these queries finds a document"):
        tune(get_engine("memory"), location, csr_array((3, queries.shape[1]), dtype=np.int32))


def test_a_setting_that_a_searcher_does_not_have_is_named(
    vectors: tuple[csr_array, csr_array], tmp_path: Path
) -> None:
    location = built("pisa", tmp_path / "index", vectors[0])
    with pytest.raises(InputError, match="no setting 'query_cut'; it has threads, algorithm"):
        get_engine("pisa").searcher(location, query_cut=3)
