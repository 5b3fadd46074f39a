"""The constants of ``splare estimate`` and the page about them are what the records give."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def capacity(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import capacity

    return capacity


def test_constants_and_page_are_made_from_the_records(capacity):
    measured = capacity.rounded(capacity.constants())
    found = json.loads(capacity.CONSTANTS.read_text(encoding="utf-8"))
    again = "run python benchmarks/capacity.py --write"
    assert _numbers(found) == pytest.approx(_numbers(measured), rel=1e-3), again
    assert found["engines"].keys() == measured["engines"].keys(), again
    assert capacity.PAGE.read_text(encoding="utf-8") == capacity.page(found), again


def _numbers(values) -> list[float]:
    if isinstance(values, dict):
        return [number for name in sorted(values) for number in _numbers(values[name])]
    if isinstance(values, list):
        return [number for value in values for number in _numbers(value)]
    return [float(values)] if isinstance(values, (int, float)) else []


def test_a_line_is_found_again(capacity):
    rows = [
        {"documents": n, "postings": 400 * n, "megabytes": 3 + n / 1000, "median_ms": 2 + n / 100}
        for n in (1000, 10_000, 100_000)
    ]
    found = capacity.fit(rows)
    assert found["index_bytes"] == pytest.approx([3e6, 2.5], rel=1e-6)
    assert found["latency_ms"] == pytest.approx([2, 1 / 40_000], rel=1e-6)
    assert found["measured_up_to"] == 100_000
    assert "build_cpu_hours" not in found  # was not measured


def test_no_term_of_a_line_is_negative(capacity):
    rows = [{"documents": n, "postings": n, "megabytes": n**1.5, "median_ms": 1.0} for n in (10, 100, 1000)]
    assert min(capacity.fit(rows)["index_bytes"]) >= 0


def test_drawn_vectors_are_as_the_measured_ones(capacity):
    from growth_vectors import Vectors, statistics

    vectors = Vectors()
    first, again = (list(Vectors().batches(2500)) for _ in range(2))
    assert [batch.shape[0] for batch in first] == [2000, 500]
    assert all((one != other).nnz == 0 for one, other in zip(first, again, strict=True))
    assert (next(Vectors().batches(2000)) != first[0]).nnz == 0  # of a batch and the seed alone
    measured, drawn = statistics(vectors.documents), statistics(first[0])
    assert drawn == pytest.approx(measured, rel=0.15)
    assert first[0].data.min() >= 1 and first[0].data.max() <= 255
    assert np.diff(first[0].indptr).max() <= 400
    asked = vectors.asked(20, first[0])
    assert 20 <= np.diff(asked.indptr).mean() <= 40
    assert (asked @ first[0].T).max() > 0
