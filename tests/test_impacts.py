"""Floats to integers, and latents to pseudo-terms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy.sparse import csr_array

from splare_plugins.config import SideConfig, SplareConfig
from splare_plugins.errors import InputError
from splare_plugins.impacts import (
    MAX_IMPACT,
    Quantizer,
    from_dicts,
    latent_id,
    latent_term,
    latent_terms,
    to_dicts,
    with_bits,
)

WEIGHTS = npst.arrays(
    np.float32,
    npst.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=8),
    elements=st.one_of(st.just(0.0), st.floats(0, 1024, width=32), st.floats(0, 2.0**127, width=32)),
)
SCALES = st.floats(1e-6, 1e6)


@given(weights=WEIGHTS, scale=SCALES)
def test_every_weight_is_accounted_for(weights: np.ndarray, scale: float) -> None:
    result = Quantizer(1.0, scale).documents(csr_array(weights))
    exact = weights.astype(np.float64) * scale
    impacts = result.impacts.toarray()
    assert result.impacts.dtype == np.int32
    assert result.impacts.shape == weights.shape
    assert result.impacts.has_sorted_indices
    assert ((result.impacts.data >= 1) & (result.impacts.data <= MAX_IMPACT)).all()
    inside = exact < MAX_IMPACT + 0.5
    assert np.abs(impacts - exact)[inside].max(initial=0) <= 0.5
    assert (impacts[~inside] == MAX_IMPACT).all()
    assert result.row_clipped.tolist() == (~inside).sum(1).tolist()
    assert result.row_dropped.tolist() == ((impacts == 0) & (weights > 0)).sum(1).tolist()
    assert (result.clipped, result.dropped) == (result.row_clipped.sum(), result.row_dropped.sum())
    assert result.impacts.nnz + result.dropped == np.count_nonzero(weights)


@given(weights=WEIGHTS, scale=SCALES)
def test_larger_weights_never_get_smaller_impacts(weights: np.ndarray, scale: float) -> None:
    impacts = Quantizer(scale, 1.0).queries(csr_array(weights)).impacts.toarray().ravel()
    order = np.argsort(weights.ravel(), kind="stable")
    assert (np.diff(impacts[order]) >= 0).all()


def test_rounding_half_up_clipping_and_dropping() -> None:
    weights = csr_array(np.array([[0.5, 1.5, 2.5, 0.4999, 254.5, 255.4, 255.5, 1e9]], dtype=np.float32))
    result = Quantizer(2.0, 1.0).documents(weights)
    assert result.impacts.toarray().tolist() == [[1, 2, 3, 0, 255, 255, 255, 255]]
    assert (result.clipped, result.dropped) == (2, 1)
    assert Quantizer(2.0, 1.0).queries(weights[:, :2]).impacts.toarray().tolist() == [[1, 3]]


def test_the_input_is_not_changed() -> None:
    weights = csr_array(np.array([[0.1, 3.0]], dtype=np.float32))
    Quantizer(1.0, 1.0).documents(weights)
    assert weights.toarray().tolist() == [[np.float32(0.1), 3.0]]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, -1.0])
def test_weights_that_are_no_weights(bad: float) -> None:
    weights = csr_array(np.array([[0, 1], [0, 0], [2, bad]], dtype=np.float32))
    with pytest.raises(InputError, match=rf"^row 2, latent 1: the weight {bad} is not a finite number >= 0"):
        Quantizer(1.0, 1.0).documents(weights)
    with pytest.raises(InputError, match=r"^'doc-c', latent 1:"):
        Quantizer(1.0, 1.0).queries(weights, ["doc-a", "doc-b", "doc-c"])


@pytest.mark.parametrize("scale", [0.0, -1.0, np.nan, np.inf])
def test_scales_that_are_no_scales(scale: float) -> None:
    with pytest.raises(InputError, match=r"the query scale of a quantiser must be a positive number"):
        Quantizer(scale, 1.0)
    with pytest.raises(InputError, match=r"the document scale of a quantiser"):
        Quantizer(1.0, scale)


@pytest.mark.parametrize("bits", range(1, 9))
def test_fewer_bits_are_a_coarser_scale(bits: int) -> None:
    impacts = csr_array(np.arange(1, 256, dtype=np.int32)[None])
    coarser = with_bits(impacts, bits)
    top = 2**bits - 1
    expected = np.floor(np.arange(1, 256) * top / 255 + 0.5)
    assert coarser.toarray()[0].tolist() == expected.tolist()
    assert coarser.nnz == np.count_nonzero(expected) and coarser.max() == top
    assert impacts.data.tolist() == list(range(1, 256))


def test_calibration_maps_the_percentile_to_the_top() -> None:
    rng = np.random.default_rng(0)
    queries = csr_array(rng.exponential(1.0, size=(50, 40)).astype(np.float32))
    documents = csr_array(rng.exponential(3.0, size=(50, 40)).astype(np.float32))
    quantizer = Quantizer.calibrate(queries, documents, percentile=99)
    for result, weights in ((quantizer.queries(queries), queries), (quantizer.documents(documents), documents)):
        assert result.impacts.data.max() == MAX_IMPACT
        assert 0 < result.clipped <= 0.011 * weights.nnz
    empty = csr_array((2, 40), dtype=np.float32)
    with pytest.raises(InputError, match=r"the query sample has no active latent"):
        Quantizer.calibrate(empty, documents)
    with pytest.raises(InputError, match=r"the document sample has no active latent"):
        Quantizer.calibrate(queries, empty)


def test_dot_products_stay_proportional() -> None:
    rng = np.random.default_rng(1)
    queries = csr_array((rng.random((20, 300)) * (rng.random((20, 300)) < 0.1)).astype(np.float32))
    documents = csr_array((rng.random((50, 300)) * (rng.random((50, 300)) < 0.3)).astype(np.float32))
    quantizer = Quantizer.calibrate(queries, documents, percentile=100)
    scores = quantizer.queries(queries).impacts @ quantizer.documents(documents).impacts.T
    floats = (queries @ documents.T).toarray() * quantizer.query_scale * quantizer.document_scale
    np.testing.assert_allclose(scores.toarray(), floats, rtol=0.05, atol=500)


def test_scales_come_from_the_config() -> None:
    config = SplareConfig(
        name="m", revision="1", backbone="b", width=4, query=SideConfig(scale=2.0), document=SideConfig(scale=3.0)
    )
    quantizer = Quantizer.from_config(config)
    assert (quantizer.query_scale, quantizer.document_scale) == (2.0, 3.0)
    with pytest.raises(InputError, match=r"m has no quantiser scales; call model\.calibrate"):
        Quantizer.from_config(SplareConfig(name="m", revision="1", backbone="b", width=4))


@given(st.integers(0, 10**9))
def test_terms_and_latents(latent: int) -> None:
    assert latent_id(latent_term(latent)) == latent


def test_all_terms() -> None:
    assert latent_terms(3).tolist() == ["f0", "f1", "f2"]


@pytest.mark.parametrize("term", ["", "f", "g1", "f01", "f-1", "f1.5", "F1", "f1 ", " f1", "f²", "f१", "ff1"])
def test_terms_that_are_none(term: str) -> None:
    with pytest.raises(InputError, match=r"is not a pseudo-term of a latent; those look like f12345"):
        latent_id(term)


ROWS = st.lists(st.dictionaries(st.integers(0, 99).map(latent_term), st.integers(1, 2**31 - 1)), max_size=5)


@given(ROWS)
@settings(deadline=None)
def test_dicts_round_trip(rows: list[dict[str, int]]) -> None:
    impacts = from_dicts(rows, 100)
    assert impacts.shape == (len(rows), 100)
    assert impacts.dtype == np.int32
    assert impacts.has_sorted_indices
    assert to_dicts(impacts) == rows


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"f100": 1}, r"row 1: f100 is beyond the last latent f99"),
        ({"f1": 0}, r"row 1: the impact of f1 must be an integer >= 1, not 0"),
        ({"f1": 1.0}, r"row 1: the impact of f1 must be an integer >= 1, not 1\.0"),
        ({"f1": True}, r"row 1: the impact of f1 must be an integer >= 1, not True"),
        ({"f1": 2**31}, r"row 1: the impact of f1 is beyond"),
    ],
)
def test_dicts_that_are_refused(row: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_dicts([{"f1": 1}, row], 100)


def test_float_weights_round_trip_where_they_are_asked_for() -> None:
    weights = from_dicts([{"f7": 0.25, "f3": 2}, {}, {"f1": np.float32(1.5)}], 10, floats=True)
    assert weights.dtype == np.float64
    assert to_dicts(weights) == [{"f3": 2.0, "f7": 0.25}, {}, {"f1": 1.5}]


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf"), "1", None, True])
def test_float_weights_that_are_refused(weight: object) -> None:
    with pytest.raises(InputError, match=r"row 1: the impact of f2 must be a finite number > 0, not"):
        from_dicts([{"f1": 0.5}, {"f2": weight}], 10, floats=True)  # type: ignore[dict-item]


@pytest.mark.parametrize("term", [3, None, ("f1",)])
def test_terms_of_another_type_are_refused(term: object) -> None:
    with pytest.raises(InputError, match="is not a pseudo-term of a latent"):
        from_dicts([{term: 1}], 10)  # type: ignore[dict-item]


def test_numpy_integers_are_impacts() -> None:
    assert to_dicts(from_dicts([{"f1": np.int64(3), "f2": 4}], 10)) == [{"f1": 3, "f2": 4}]
