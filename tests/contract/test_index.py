"""Every engine leaves a complete index or none, and remembers which model made it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.sparse import csr_array

from splare_plugins.config import SplareConfig
from splare_plugins.engines import Engine
from splare_plugins.errors import InputError, SplareError

from .conftest import WIDTH, assert_exact, build, impacts_from, random_impacts, search
from .places import Place

QUERY = impacts_from([{1: 1}])


def test_several_batches_equal_one(engine: Engine, location: str) -> None:
    rng = np.random.default_rng(4)
    documents, queries = random_impacts(rng, 90, 30), random_impacts(rng, 5, 30)
    docids = [f"d{number}" for number in range(90)]
    with engine.writer(location, None) as writer:
        for start, end in ((0, 1), (1, 40), (40, 40), (40, 90)):
            writer.add(docids[start:end], documents[start:end])
    assert_exact(search(engine, location, queries, 90), queries, docids, documents, 90)


@pytest.mark.parametrize("rows", [0, 3])
def test_an_index_without_impacts(engine: Engine, location: str, rows: int) -> None:
    build(engine, location, [f"d{row}" for row in range(rows)], impacts_from([{}] * rows))
    with engine.searcher(location) as searcher:
        assert searcher.num_docs == rows
        assert searcher.search(QUERY, 10)[0].docids == []


def test_unicode_ids(engine: Engine, location: str) -> None:
    docids = ["文書-1", "ü", "u\u0308", "🦊/a?b=c#d", "مرحبا", "d" * 512, "0", "00", "-", '"quoted"', "a\\b"]
    documents = impacts_from([{1: number + 1} for number in range(len(docids))])
    build(engine, location, docids, documents)
    hits = search(engine, location, QUERY, 100)[0]
    assert hits.docids == docids[::-1]


@pytest.mark.parametrize("batches", [[["a", "b", "a"]], [["a", "b"], ["c", "b"]]])
def test_duplicate_ids_are_refused(engine: Engine, place: Place, location: str, batches: list[list[str]]) -> None:
    with pytest.raises(InputError, match=r"'[ab]'"), engine.writer(location, None) as writer:
        for docids in batches:
            writer.add(docids, impacts_from([{1: 1}] * len(docids)))
    assert place.standing() == []


def test_a_refused_batch_leaves_its_ids_free(engine: Engine, location: str) -> None:
    with engine.writer(location, None) as writer:
        with pytest.raises(InputError):
            writer.add(["a", "b"], impacts_from([{1: 1}, {1: 0}]))
        try:
            writer.add(["a", "b"], impacts_from([{1: 1}, {1: 1 << 30}]))
        except InputError:  # of engines that have a limit
            writer.add(["a", "b"], impacts_from([{1: 1}, {1: 2}]))
    assert search(engine, location, QUERY, 10)[0].docids == ["b", "a"]


def test_trusted_ids_are_not_kept(engine: Engine, location: str) -> None:
    with engine.writer(location, None) as writer:
        writer.trust_ids()
        for number in range(3):
            writer.add([f"d{number}"], impacts_from([{1: number + 1}]))
        assert writer.known_ids is None
    assert search(engine, location, QUERY, 10)[0].docids == ["d2", "d1", "d0"]


@pytest.mark.parametrize(
    "impacts",
    [
        impacts_from([{1: 0}]),
        impacts_from([{1: -3}]),
        impacts_from([{1: 1}]).astype(np.float32),
        impacts_from([{1: 1}, {1: 1}]),
        csr_array((1, WIDTH + 1), dtype=np.int32),
    ],
    ids=["zero", "negative", "float", "too many rows", "other width"],
)
def test_bad_batches_are_refused(
    engine: Engine, place: Place, location: str, config: SplareConfig, impacts: csr_array
) -> None:
    with pytest.raises(InputError), engine.writer(location, config) as writer:
        writer.add(["d"], impacts)
    assert place.standing() == []


@pytest.mark.parametrize("width", [WIDTH - 1, WIDTH + 1])
def test_queries_of_another_width_are_refused(engine: Engine, location: str, config: SplareConfig, width: int) -> None:
    build(engine, location, ["d"], impacts_from([{1: 1}]), config)
    with pytest.raises(InputError, match=rf"{width} latents, but the index has {WIDTH}"):
        search(engine, location, impacts_from([{1: 1}], width), 1)


@pytest.mark.parametrize("k", [0, -1])
def test_k_must_be_positive(engine: Engine, location: str, k: int) -> None:
    build(engine, location, ["d"], impacts_from([{1: 1}]))
    with pytest.raises(InputError):
        search(engine, location, QUERY, k)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_exception_leaves_nothing(engine: Engine, place: Place, location: str, error: type[BaseException]) -> None:
    with pytest.raises(error), engine.writer(location, None) as writer:
        writer.add(["d"], impacts_from([{1: 1}]))
        raise error
    assert place.standing() == []


def test_an_exception_leaves_the_old_index(engine: Engine, place: Place, location: str) -> None:
    build(engine, location, ["old"], impacts_from([{1: 1}]))
    with pytest.raises(RuntimeError), engine.writer(location, None, overwrite=True) as writer:
        writer.add(["new"], impacts_from([{1: 1}]))
        raise RuntimeError
    assert search(engine, location, QUERY, 10)[0].docids == ["old"]
    assert place.standing() == ["index"]


def test_overwriting(engine: Engine, place: Place, location: str) -> None:
    build(engine, location, ["old", "older"], impacts_from([{1: 1}, {1: 2}]))
    build(engine, location, ["new"], impacts_from([{1: 1}]), overwrite=True)
    assert search(engine, location, QUERY, 10)[0].docids == ["new"]
    assert place.standing() == ["index"]


def test_an_existing_place_is_refused(engine: Engine, location: str) -> None:
    build(engine, location, ["old"], impacts_from([{1: 1}]))
    with pytest.raises(InputError, match="exists"), engine.writer(location, None):
        pass
    assert search(engine, location, QUERY, 10)[0].docids == ["old"]


def test_the_place_is_made_with_its_parents(engine: Engine, place: Place) -> None:
    location = place.deep()
    build(engine, location, ["d"], impacts_from([{1: 1}]))
    assert search(engine, location, QUERY, 10)[0].docids == ["d"]


def test_the_config_comes_back(engine: Engine, location: str, config: SplareConfig) -> None:
    build(engine, location, ["d"], impacts_from([{1: 1}]), config)
    with engine.searcher(location) as searcher:
        assert searcher.config == config
        other = dataclasses.replace(config, layer=3)
        with pytest.raises(SplareError, match=r"made with contract 1, but .* which has another layer"):
            other.require_same_index(searcher.config, location)


def test_vectors_of_unknown_origin(engine: Engine, location: str) -> None:
    build(engine, location, ["d"], impacts_from([{1: 1}]))
    with engine.searcher(location) as searcher:
        assert searcher.config is None


def test_no_index(engine: Engine, place: Place) -> None:
    for location, word in place.wrong().items():
        with pytest.raises(InputError, match=word):
            search(engine, location, QUERY, 1)


def test_a_damaged_index_is_refused(engine: Engine, place: Place, location: str, config: SplareConfig) -> None:
    build(engine, location, [f"d{n}" for n in range(300)], random_impacts(np.random.default_rng(5), 300, 60), config)
    place.damage()
    with pytest.raises(InputError, match=r"index"):
        search(engine, location, QUERY, 1)
