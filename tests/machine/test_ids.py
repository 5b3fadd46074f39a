"""Ids that came before: what a set says, in eight bytes."""

from __future__ import annotations

import tempfile
import tracemalloc
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splare_plugins.errors import InputError
from splare_plugins.machine.ids import DistinctIds, told_apart

MANY = 200_000

HASHES: dict[str, Callable[[str], int]] = {
    "good": hash,
    "of seven values": lambda each: (hash(each) % 7) << 50,
    "always the same": lambda _: -1,
}


def batches(ids: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (ids[start : start + size] for start in range(0, len(ids), size))


@pytest.mark.parametrize("hashed", HASHES.values(), ids=HASHES)
@given(corpus=st.lists(st.lists(st.text(max_size=3), max_size=8), max_size=12))
def test_it_says_what_a_set_says(hashed: Callable[[str], int], corpus: list[list[str]]) -> None:
    known: set[str] = set()
    with DistinctIds(hashed) as ids:
        for batch in corpus:
            wanted = [place for place, each in enumerate(batch) if each in known or each in batch[:place]]
            assert ids.repeated(batch) == wanted
            ids.add([each for place, each in enumerate(batch) if place not in wanted])
            known.update(batch)
            assert len(ids) == len(known)


@pytest.mark.parametrize("size", [1, 100, 3000])
def test_ids_in_the_file_are_found_and_others_of_their_hash_are_not(size: int) -> None:
    corpus = [f"d{number}" for number in range(3000)]
    with DistinctIds(lambda each: (int(each[1:]) % 500) << 40) as ids:
        for batch in batches(corpus, size):
            assert ids.repeated(batch) == []
            ids.add(batch)
        assert ids.repeated(["d3000", "d2999", "d3500", "d0", "d3001", "d0", "d2047", "d2048"]) == [1, 3, 5, 6, 7]


def test_ids_of_an_array() -> None:
    column = np.array([f"d{number}" for number in range(1500)])
    with DistinctIds() as ids:
        ids.add(column)  # type: ignore[arg-type]  as callers without type hints do
        assert ids.repeated(["d1499", "x", "d0"]) == [0, 2]
        assert ids.repeated(column[-2:]) == [0, 1]  # type: ignore[arg-type]


def test_memory_of_many() -> None:
    corpus = [f"MARCO_{number}" for number in range(MANY)]
    tracemalloc.start()
    try:
        with DistinctIds() as ids:
            for batch in batches(corpus, 256):
                assert not ids.repeated(batch)
                ids.add(batch)
            held, peak = tracemalloc.get_traced_memory()
            assert 8 * MANY < ids.nbytes < 8.1 * MANY
            assert held < 9 * MANY
            # Merging takes some more for a moment; little of it grows with the ids.
            assert peak < 10 * MANY
            assert ids.repeated(corpus[::50_000]) == [0, 1, 2, 3]
    finally:
        tracemalloc.stop()


def test_items_are_told_apart_in_their_order() -> None:
    items = [(f"d{number % 700}", number) for number in range(2000)]
    told = list(told_apart(items, lambda item: item[0]))
    assert [item for item, _ in told] == items
    assert [repeated for _, repeated in told] == [number >= 700 for number in range(2000)]


def test_an_error_comes_after_the_items_before_it() -> None:
    def items() -> Iterator[str]:
        yield from ("a", "b", "a")
        raise InputError("line 4")

    told = told_apart(items(), str)
    assert [next(told) for _ in range(3)] == [("a", False), ("b", False), ("a", True)]
    with pytest.raises(InputError, match="line 4"):
        next(told)


def test_more_ids_than_words_have_numbers_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("splare_plugins.machine.ids._MOST", 10)
    with DistinctIds() as ids:
        ids.add([f"d{number}" for number in range(10)])
        with pytest.raises(InputError, match="more than 10 ids"):
            ids.add(["d10"])
        assert len(ids) == 10


def test_no_room_for_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with DistinctIds() as ids, pytest.raises(InputError, match=r"No such file .* set TMPDIR"):
        ids.add([f"d{number}" for number in range(50_000)])
