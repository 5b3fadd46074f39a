"""Every engine returns the integer dot products."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array

from splare_plugins.corpus import read_documents, read_queries
from splare_plugins.engines import Engine
from splare_plugins.errors import InputError
from splare_plugins.impacts import Quantizer
from splare_plugins.model.splare import SplareModel

from .conftest import DATA, WIDTH, assert_exact, build, impacts_from, random_impacts, search, text_impacts


def names(count: int) -> list[str]:
    return [f"d{number}" for number in range(count)]


@pytest.mark.parametrize("k", [1, 10, 1000])
def test_random_vectors(engine: Engine, location: str, k: int) -> None:
    rng = np.random.default_rng(0)
    documents = random_impacts(rng, 300, 60)
    queries = random_impacts(rng, 20, 20)
    build(engine, location, names(300), documents)
    assert_exact(search(engine, location, queries, k), queries, names(300), documents, k)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_vectors_with_the_statistics_of_text(engine: Engine, location: str, language: str) -> None:
    documents = text_impacts(DATA / "xquad" / language / "corpus.jsonl.gz", 240)
    queries = text_impacts(DATA / "xquad" / language / "queries.jsonl.gz", 50)
    build(engine, location, names(240), documents)
    assert_exact(search(engine, location, queries, 100), queries, names(240), documents, 100)


@pytest.fixture(scope="session")
def real_impacts(builtin: SplareModel) -> tuple[csr_array, csr_array]:
    """German questions and English passages, as the built-in model encodes them."""
    queries = [query.text for query in read_queries(DATA / "xquad" / "de")[:20]]
    documents = [document.content for document in read_documents(DATA / "xquad" / "en")][:40]
    weights = builtin.encode_queries(queries), builtin.encode_documents(documents)
    quantizer = Quantizer.calibrate(*weights)
    return quantizer.queries(weights[0]).impacts, quantizer.documents(weights[1]).impacts


@pytest.mark.model
def test_real_vectors(engine: Engine, location: str, real_impacts: tuple[csr_array, csr_array]) -> None:
    queries, documents = real_impacts
    build(engine, location, names(40), documents)
    assert_exact(search(engine, location, queries, 40), queries, names(40), documents, 40)


def test_features_in_every_document(engine: Engine, location: str) -> None:
    rng = np.random.default_rng(1)
    dense = np.zeros((200, WIDTH), dtype=np.int32)
    dense[:, :5] = rng.integers(1, 256, size=(200, 5))
    documents = csr_array(dense)
    queries = impacts_from([{0: 1}, {1: 255, 2: 3}, {0: 7, 1: 7, 2: 7, 3: 7, 4: 7}, {4: 1, 9: 200}])
    build(engine, location, names(200), documents)
    assert_exact(search(engine, location, queries, 200), queries, names(200), documents, 200)


def test_weights_1_and_255(engine: Engine, location: str) -> None:
    documents = impacts_from([{0: 1}, {0: 255}, {0: 1, WIDTH - 1: 255}, {WIDTH - 1: 1}, {0: 254, WIDTH - 1: 255}])
    queries = impacts_from([{0: 1}, {0: 255}, {WIDTH - 1: 255}, {0: 255, WIDTH - 1: 255}, {0: 1, WIDTH - 1: 255}])
    build(engine, location, names(5), documents)
    assert_exact(search(engine, location, queries, 10), queries, names(5), documents, 10)


def test_queries_of_1500_features(engine: Engine, location: str) -> None:
    rng = np.random.default_rng(2)
    documents = random_impacts(rng, 100, 400)
    queries = random_impacts(rng, 3, 1500)
    build(engine, location, names(100), documents)
    assert_exact(search(engine, location, queries, 100), queries, names(100), documents, 100)


def test_identical_documents(engine: Engine, location: str) -> None:
    documents = impacts_from([{3: 9, 8: 200}] * 30 + [{3: 10}] * 30)
    queries = impacts_from([{3: 5}, {8: 5}, {3: 1, 8: 1}])
    build(engine, location, names(60), documents)
    for k in (1, 7, 45, 60):
        assert_exact(search(engine, location, queries, k), queries, names(60), documents, k)


def test_ties_are_stable(engine: Engine, location: str) -> None:
    documents = impacts_from([{number % 3: 7} for number in range(50)])
    query = impacts_from([{0: 2, 1: 2, 2: 2}])
    build(engine, location, names(50), documents)
    with engine.searcher(location) as searcher:
        first = searcher.search(query, 20)[0].docids
        assert first == searcher.search(query, 20)[0].docids
        assert first == searcher.search(query, 50)[0].docids[:20]
    assert first == search(engine, location, query, 20)[0].docids


def test_empty_rows_and_empty_queries(engine: Engine, location: str) -> None:
    documents = impacts_from([{}, {1: 5}, {}, {1: 6, 2: 1}, {}])
    queries = impacts_from([{}, {1: 2}, {}, {7: 4}])
    build(engine, location, names(5), documents)
    with engine.searcher(location) as searcher:
        assert searcher.num_docs == 5
        answers = searcher.search(queries, 10)
    assert_exact(answers, queries, names(5), documents, 10)
    assert [len(hits.docids) for hits in answers] == [0, 2, 0, 0]


def test_no_queries(engine: Engine, location: str) -> None:
    build(engine, location, ["d"], impacts_from([{1: 1}]))
    assert search(engine, location, impacts_from([]), 10) == []


def test_k_beyond_the_corpus(engine: Engine, location: str) -> None:
    documents = impacts_from([{1: 3}, {1: 4}])
    build(engine, location, names(2), documents)
    query = impacts_from([{1: 1}])
    assert_exact(search(engine, location, query, 100_000), query, names(2), documents, 100_000)


def test_a_batch_answers_as_single_queries_do(engine: Engine, location: str) -> None:
    rng = np.random.default_rng(3)
    documents, queries = random_impacts(rng, 200, 50), random_impacts(rng, 9, 30)
    build(engine, location, names(200), documents)
    with engine.searcher(location) as searcher:
        together = searcher.search(queries, 15)
        single = [searcher.search(queries[row : row + 1], 15)[0] for row in range(9)]
    for one, other in zip(together, single, strict=True):
        assert one.docids == other.docids
        assert one.scores.tolist() == other.scores.tolist()


@pytest.mark.parametrize("weights", [{"f3": 0, "f5": 2, "f7": 0.25, "f9": "@80", "f2000": 3}])
def test_a_steered_query_has_the_integers_of_its_changed_impacts(
    engine: Engine, location: str, weights: dict[str, float | str]
) -> None:
    rng = np.random.default_rng(6)
    documents = random_impacts(rng, 200, 8, width=24)
    documents = csr_array((documents.data, documents.indices, documents.indptr), shape=(200, WIDTH))
    queries = impacts_from([{3: 200, 5: 90, 7: 33, 11: 4}, {5: 200}, {}, {3: 8}])
    steered = impacts_from([{5: 180, 7: 8, 9: 80, 11: 4}, {5: 255, 9: 80}, {9: 80}, {9: 80}])
    build(engine, location, names(200), documents)
    with engine.searcher(location) as searcher:
        answers = searcher.search(queries, 200, weights=weights)
        assert_exact(answers, steered, names(200), documents, 200)
        # All latents of a query switched off leave nothing to look for.
        assert [len(hits.docids) for hits in searcher.search(queries[1:2], 9, weights={"f5": 0})] == [0]
        with pytest.raises(InputError, match=f"there is no latent 'f{WIDTH}'"):
            searcher.search(queries, 5, weights={f"f{WIDTH}": 1})


def test_what_is_indexed_of_a_document_is_told_or_not(engine: Engine, location: str) -> None:
    documents = impacts_from([{3: 9, 8: 200}, {}, {2: 1}])
    build(engine, location, names(3), documents)
    with engine.searcher(location) as searcher:
        told = [searcher.vector(docid) for docid in ("d0", "d1", "d2", "nobody")]
        assert searcher.num_impacts() in (None, 3)
        assert searcher.document_frequency("f3") in (None, 1)
        assert searcher.documents() is None
        assert not searcher.ranks_words and searcher.search_words("d0", 5) is None  # nothing has a text
        narrower = searcher.narrowed(1)
        assert (narrower is not None) == searcher.narrows
        if narrower is not None:
            (hits,) = narrower.search(impacts_from([{3: 1, 8: 1}]), 5)
            assert (hits.docids, hits.scores.tolist()) == (["d0"], [200.0])
        if engine.name == "memory":
            assert told == [{"f3": 9, "f8": 200}, {}, {"f2": 1}, None]
        else:  # these keep vectors only where they are told to
            assert told == [None] * 4
