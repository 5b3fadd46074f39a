"""What every engine refuses."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array

from splare_plugins.engines.checks import check_batch, check_impacts, check_k
from splare_plugins.errors import InputError
from splare_plugins.machine.ids import DistinctIds


def impacts(*rows: list[float], dtype: type = np.int32) -> csr_array:
    return csr_array(np.array(rows, dtype=dtype))


def test_ids_are_remembered_only_if_the_batch_is_taken() -> None:
    with DistinctIds() as known:
        check_batch(["a", "b"], impacts([1], [0]), known)
        with pytest.raises(InputError, match=r"the document 'b' was added before"):
            check_batch(["c", "b"], impacts([1], [1]), known)
        assert len(known) == 2
        check_batch(["c"], impacts([1]), known)
    check_batch(["c", "c"], impacts([1], [1]), None)


@pytest.mark.parametrize(
    ("docids", "batch", "message"),
    [
        (["a"], impacts([1], [1]), r"1 ids came with 2 rows"),
        ([""], impacts([1]), r"a document without an id"),
        (["a", "a"], impacts([1], [1]), r"'a' was added before"),
        (["a"], impacts([1, 2, 3]), r"have 3 latents, but the index has 2"),
        (["a", "b"], impacts([1], [-2]), r"the document 'b' has the impact -2"),
    ],
)
def test_batches(docids: list[str], batch: csr_array, message: str) -> None:
    with DistinctIds() as known, pytest.raises(InputError, match=message):
        check_batch(docids, batch, known, width=2 if batch.shape[1] == 3 else None)


def test_impacts() -> None:
    check_impacts(impacts([0, 255]), 2)
    check_impacts(csr_array((0, 7), dtype=np.int32), 7)
    with pytest.raises(InputError, match=r"must be integers, not float32; quantise"):
        check_impacts(impacts([1.5], dtype=np.float32))
    bad = csr_array((np.array([3, 1, -2], dtype=np.int32), np.array([0, 1, 0]), np.array([0, 2, 2, 3])), shape=(3, 2))
    with pytest.raises(InputError, match=r"row 2 has the impact -2"):
        check_impacts(bad)


def test_k() -> None:
    check_k(1)
    with pytest.raises(InputError, match=r"must be at least 1, not 0"):
        check_k(0)
