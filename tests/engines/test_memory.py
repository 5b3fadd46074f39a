"""What only the in-memory engine promises; the rest is in the contract suite."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from scipy.sparse import csr_array

from splare_plugins.engines.memory import INDEX_FILE, MemoryEngine, MemorySearcher
from splare_plugins.errors import InputError


def impacts(*rows: list[int]) -> csr_array:
    return csr_array(np.array(rows, dtype=np.int32))


@pytest.fixture
def location(tmp_path: Path) -> str:
    place = str(tmp_path / "index")
    with MemoryEngine().writer(place, None) as writer:
        writer.add(["a", "b", "c", "d"], impacts([1, 0], [2, 0], [1, 0], [2, 7]))
    return place


@pytest.mark.parametrize(("k", "expected"), [(1, "b"), (2, "bd"), (3, "bda"), (4, "bdac"), (9, "bdac")])
def test_ties_come_in_the_order_of_indexing(location: str, k: int, expected: str) -> None:
    assert "".join(MemorySearcher(location).search(impacts([3, 0]), k)[0].docids) == expected


def test_scores_are_exact_beyond_32_bits(tmp_path: Path) -> None:
    place, width = str(tmp_path / "index"), 70_000
    documents = csr_array(np.full((2, width), 255, dtype=np.int32))
    documents.data[-1] = 254
    with MemoryEngine().writer(place, None) as writer:
        writer.add(["most", "less"], documents)
    hits = MemorySearcher(place).search(csr_array(np.full((1, width), 255, dtype=np.int32)), 2)[0]
    assert hits.docids == ["most", "less"]
    assert hits.scores.tolist() == [width * 255 * 255, width * 255 * 255 - 255]


def test_many_queries_are_answered_in_slices(location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    searcher = MemorySearcher(location)
    queries = impacts(*([number + 1, number % 3] for number in range(20)))
    whole = searcher.search(queries, 3)
    monkeypatch.setattr("splare_plugins.engines.memory._SCORES_AT_ONCE", 9)
    for one, other in zip(whole, searcher.search(queries, 3), strict=True):
        assert one.docids == other.docids
        assert one.scores.tolist() == other.scores.tolist()


def test_other_latents_are_refused(location: str) -> None:
    with pytest.raises(InputError, match=r"these impacts have 3 latents, but the index has 2"):
        MemorySearcher(location).search(impacts([1, 0, 0]), 1)


def test_a_place_that_is_something_else(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1.jpg").write_bytes(b"x")
    with pytest.raises(InputError, match=r"photos is not an index of the memory engine"):
        MemoryEngine().writer(str(tmp_path / "photos"), None, overwrite=True)
    with pytest.raises(InputError, match=r"cannot be written, because .*1\.jpg is not a folder"):
        MemoryEngine().writer(str(tmp_path / "photos" / "1.jpg" / "index"), None)


def test_what_appeared_meanwhile_is_kept(location: str, tmp_path: Path) -> None:
    place = tmp_path / "other"
    writer = MemoryEngine().writer(str(place), None)
    writer.add(["x"], impacts([1, 0]))
    Path(location).rename(place)
    with pytest.raises(InputError, match=r"exists already"):
        writer.commit()
    assert MemorySearcher(str(place)).num_docs == 4


def rewrite(location: str, metadata: dict[str, str] | None, **changes: np.ndarray) -> None:
    path = Path(location) / INDEX_FILE
    save_file({**load_file(path), **changes}, path, metadata=metadata)


CARD = {"format": 1, "documents": 4, "width": 2, "config": None}


@pytest.mark.parametrize(
    "card",
    [None, "{", "[]", "{}", json.dumps({**CARD, "documents": 3}), json.dumps({**CARD, "width": 1})],
)
def test_a_damaged_card(location: str, card: str | None) -> None:
    rewrite(location, None if card is None else {"splare": card})
    with pytest.raises(InputError, match=r"memory_index\.safetensors is cut off, damaged or not ours"):
        MemorySearcher(location)


def test_a_card_of_another_version(location: str) -> None:
    rewrite(location, {"splare": json.dumps({**CARD, "format": 2})})
    with pytest.raises(InputError, match=r"has format 2; this version reads 1"):
        MemorySearcher(location)


@pytest.mark.parametrize(
    "changes",
    [
        {"latents": np.array([0, 0, 0, 0, 9], dtype=np.int32)},
        {"rows": np.array([0, 1, 2, 3, 99])},
        {"id_ends": np.array([1, 2, 3])},
        {"id_ends": np.array([1, 2, 3, 9])},
        {"ids": np.frombuffer(b"abc\xff", dtype=np.uint8)},
    ],
)
def test_tensors_that_do_not_fit(location: str, changes: dict[str, np.ndarray]) -> None:
    rewrite(location, {"splare": json.dumps(CARD)}, **changes)
    with pytest.raises(InputError, match=r"is cut off, damaged or not ours"):
        MemorySearcher(location)


def test_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the memory engine has no option 'threads'"):
        MemoryEngine().writer(str(tmp_path / "index"), None, threads=4)
    with pytest.raises(InputError, match=r"no setting 'threads'; it has device"):
        MemoryEngine().searcher(str(tmp_path / "index"), threads=4)
