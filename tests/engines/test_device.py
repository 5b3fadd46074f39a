"""The engine memory with torch gives the processor's results, number for number and tie for tie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array, random_array

from splare_plugins.engines import device as device_module
from splare_plugins.engines.memory import MemoryEngine, MemorySearcher
from splare_plugins.errors import InputError

CPU = torch.device("cpu")
ON_DEVICE = [pytest.param(CPU, id="torch"), pytest.param(torch.device("cuda"), id="cuda", marks=pytest.mark.gpu)]


def some_impacts(rows: int, top: int, *, width: int = 300, seed: int = 0) -> csr_array:
    rng = np.random.default_rng(seed)
    made = csr_array(random_array((rows, width), density=0.1, format="csr", rng=rng))
    made.data = rng.integers(1, top + 1, made.nnz)
    return csr_array(made.astype(np.int32))


def index(place: Path, documents: csr_array) -> str:
    with MemoryEngine().writer(str(place), None) as writer:
        writer.add([f"d{number}" for number in range(documents.shape[0])], documents)
    return str(place)


def same(location: str, queries: csr_array, k: int, device: torch.device) -> None:
    usual = MemorySearcher(location).search(queries, k)
    found = MemorySearcher(location, device=device).search(queries, k)
    assert any(len(hits.docids) for hits in usual)
    for mine, theirs in zip(found, usual, strict=True):
        assert mine.docids == theirs.docids
        assert mine.scores.dtype == np.float64
        assert mine.scores.tolist() == theirs.scores.tolist()


@pytest.mark.parametrize("device", ON_DEVICE)
@pytest.mark.parametrize("k", [1, 7, 5000])
@pytest.mark.parametrize("top", [2, 255])  # of the smaller one, hardly a score is not a tie
def test_documents_scores_and_order_are_the_processors(tmp_path, monkeypatch, device, k, top):
    location = index(tmp_path / "index", some_impacts(2000, top))
    queries = some_impacts(23, top, seed=1)
    same(location, queries, k, device)
    monkeypatch.setattr(device_module, "_QUERIES_AT_ONCE", 5)
    monkeypatch.setattr(device_module, "_SCORES_AT_ONCE", 5 * 300)
    monkeypatch.setattr(device_module, "_IMPACTS_AT_ONCE", 5000)  # ends a block before the scores do
    same(location, queries, k, device)


@pytest.mark.parametrize("device", ON_DEVICE)
def test_scores_that_float32_does_not_hold(tmp_path, device):
    """Next to 2**24 and beyond 32 bits, where documents differ by one in the last digit."""
    for width in (300, 70_000):
        documents = csr_array(np.full((3, width), 255, dtype=np.int32))
        documents.data[-1], documents.data[0] = 254, 253
        queries = csr_array(np.full((1, width), 255, dtype=np.int32))
        queries.data[-1] = 1
        location = index(tmp_path / str(width), documents)
        assert MemorySearcher(location).search(queries, 1)[0].scores[0] > 1 << 24
        same(location, queries, 3, device)


def test_impacts_whose_scores_cannot_be_ranked_are_refused(tmp_path):
    location = index(tmp_path / "index", csr_array(np.full((2, 3), 2**31 - 1, dtype=np.int32)))
    huge = csr_array(np.full((1, 3), 2**31 - 1, dtype=np.int32))
    with pytest.raises(InputError, match=r"over 2 documents are too large to be ranked on cpu; search with device="):
        MemorySearcher(location, device=CPU).search(huge, 1)


def test_devices_that_are_not_there(tmp_path):
    location = index(tmp_path / "index", some_impacts(3, 9))
    for name in ("gpu", "meta"):
        with pytest.raises(InputError, match=f"cannot search on the device {name} here; try auto or cpu"):
            MemorySearcher(location, device=name)
    engine = MemoryEngine()
    with engine.searcher(location, device="auto") as searcher, engine.searcher(location) as usual:
        queries = some_impacts(2, 9, seed=1)
        assert [hits.docids for hits in searcher.search(queries, 3)] == [
            hits.docids for hits in usual.search(queries, 3)
        ]


def test_a_closed_index_says_so(tmp_path):
    searcher = MemorySearcher(index(tmp_path / "index", some_impacts(3, 9)), device=CPU)
    searcher.close()
    with pytest.raises(InputError, match="was closed"):
        searcher.search(some_impacts(1, 9), 1)
