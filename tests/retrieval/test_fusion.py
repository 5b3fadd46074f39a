"""Fusion of runs: the documented formulas, by hand, and what does not change the result."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from splare_plugins.engines import Hits
from splare_plugins.errors import InputError
from splare_plugins.retrieval.fusion import Method, fuse


def hits(**scores: float) -> Hits:
    return Hits(list(scores), np.array(list(scores.values()), dtype=np.float64))


def scores(fused: Hits) -> dict[str, float]:
    return dict(zip(fused.docids, fused.scores.tolist(), strict=True))


ONE = {"q": hits(a=9, b=5, c=1), "only": hits(x=2)}
OTHER = {"q": hits(d=30, b=20, a=10)}
# Mean 5 and deviation sqrt(32/3) of the first; mean 20 and deviation sqrt(200/3) of the second.
Z = 4 / np.sqrt(32 / 3)


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("rrf", {"a": 1 / 61 + 1 / 63, "b": 1 / 62 + 1 / 62, "d": 1 / 61, "c": 1 / 63}),
        ("minmax", {"a": 1.0, "b": 0.5 + 0.5, "c": 0.0, "d": 1.0}),
        # What a run lacks has its lowest.
        ("zscore", {"a": Z - Z, "b": 0.0, "c": -Z - Z, "d": -Z + Z}),
    ],
)
def test_the_formulas(method: Method, expected: dict[str, float]) -> None:
    fused = fuse([ONE, OTHER], method)
    assert scores(fused["q"]) == pytest.approx(expected, abs=1e-12)
    assert list(np.diff(fused["q"].scores) <= 0) == [True] * 3
    assert fused["only"].docids == ["x"]


def test_weights_and_depth() -> None:
    weighted = scores(fuse([ONE, OTHER], "rrf", weights=[3, 0.5])["q"])
    assert weighted["a"] == pytest.approx(3 / 61 + 0.5 / 63)
    assert weighted["c"] == pytest.approx(3 / 63)
    # The first two of each: min and max are those of what is taken.
    assert scores(fuse([ONE, OTHER], "minmax", depth=2)["q"]) == {"a": 1.0, "b": 0.0, "d": 1.0}
    assert fuse([ONE, OTHER], "rrf", k=1)["q"].docids == ["a"]


def test_hits_of_one_score() -> None:
    flat = {"q": hits(a=3, b=3)}
    assert scores(fuse([flat, OTHER], "minmax")["q"]) == {"a": 1.0, "b": 1.5, "d": 1.0}
    assert scores(fuse([flat, flat], "zscore")["q"]) == {"a": 0.0, "b": 0.0}


@pytest.mark.parametrize("method", ["rrf", "minmax", "zscore"])
def test_neither_order_of_runs_nor_of_ties_matters(method: Method) -> None:
    rng = np.random.default_rng(0)
    runs = []
    for _ in range(3):
        docids = [f"d{number}" for number in rng.permutation(30)[:20]]
        runs.append({"q": Hits(docids, np.sort(rng.integers(1, 6, 20))[::-1] / 7)})
    expected = fuse(runs, method)["q"]
    for order in itertools.permutations(runs):
        turned = [{"q": Hits(run["q"].docids[::-1], run["q"].scores[::-1])} for run in order]
        found = fuse(turned, method)["q"]
        assert found.docids == expected.docids
        assert found.scores.tolist() == expected.scores.tolist()


@pytest.mark.parametrize(
    ("runs", "options", "message"),
    [
        ([ONE], {}, "takes two runs or more, not 1"),
        ([ONE, OTHER], {"method": "sum"}, "no method 'sum' of fusion; choose rrf, minmax, zscore"),
        ([ONE, OTHER], {"weights": [1]}, "one weight a run, 2 in all, not 1"),
        ([ONE, OTHER], {"weights": [0, 0]}, "not all 0"),
        ([ONE, OTHER], {"weights": [1, -1]}, "at least 0"),
        ([ONE, OTHER], {"weights": [1, float("nan")]}, "finite"),
        ([ONE, OTHER], {"depth": 0}, "depth must be at least 1"),
        ([ONE, OTHER], {"k": 0}, "k must be at least 1"),
    ],
)
def test_what_cannot_be_fused(runs, options, message) -> None:
    with pytest.raises(InputError, match=message):
        fuse(runs, **options)
