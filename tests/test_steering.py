"""Latents of a query switched off, turned up or down, or put in."""

from __future__ import annotations

import numpy as np
import pytest

from splare_plugins.errors import InputError
from splare_plugins.impacts import from_dicts, to_dicts
from splare_plugins.steering import format_steering, parse_steering, steer, without_effect

WIDTH = 100
QUERIES = from_dicts([{"f3": 5, "f7": 200}, {}, {"f7": 1}], WIDTH)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        (None, [{"f3": 5, "f7": 200}, {}, {"f7": 1}]),
        ({"f7": 0}, [{"f3": 5}, {}, {}]),
        ({"f3": 2}, [{"f3": 10, "f7": 200}, {}, {"f7": 1}]),
        ({"f3": 0.5}, [{"f3": 3, "f7": 200}, {}, {"f7": 1}]),  # half up, as the quantiser rounds
        ({"f7": 0.4}, [{"f3": 5, "f7": 80}, {}, {}]),
        ({"f7": 1000}, [{"f3": 5, "f7": 255}, {}, {"f7": 255}]),
        ({"f50": 3}, [{"f3": 5, "f7": 200}, {}, {"f7": 1}]),
        ({"f50": "@80", "f7": "@2"}, [{"f3": 5, "f7": 2, "f50": 80}, {"f7": 2, "f50": 80}, {"f7": 2, "f50": 80}]),
        ({"f0": "@255", "f3": np.float32(0)}, [{"f0": 255, "f7": 200}, {"f0": 255}, {"f0": 255, "f7": 1}]),
    ],
)
def test_steering(weights, expected):
    steered = steer(QUERIES, weights)
    assert to_dicts(steered) == expected
    assert steered.dtype == QUERIES.dtype
    assert steered.has_sorted_indices
    assert (steered.data >= 1).all()


def test_float_weights_are_not_rounded():
    floats = from_dicts([{"f3": 0.5, "f7": 300.0}], WIDTH, floats=True)
    assert to_dicts(steer(floats, {"f3": 0.5, "f7": 2, "f9": "@4"})) == [{"f3": 0.25, "f7": 600.0, "f9": 4.0}]


def test_what_changes_nothing_is_told():
    assert without_effect(QUERIES, {"f3": 2, "f50": 2, "f51": "@3"}) == ["f50"]


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ({"f100": 0}, r"no latent 'f100'; this model has f0 to f99"),
        ({"three": 0}, r"'three' is not a pseudo-term"),
        ({7: 0}, r"no latent 7"),
        ({"f3": float("nan")}, r"factor of f3 must be a finite number of at least 0.*not nan"),
        ({"f3": float("inf")}, r"not inf"),
        ({"f3": -0.5}, r"not -0.5"),
        ({"f3": True}, r"not True"),
        ({"f3": None}, r"not None"),
        ({"f3": "2"}, r"must be @ and a whole number from 1 to 255, such as @80, not '2'"),
        ({"f3": "@0"}, r"not '@0'"),
        ({"f3": "@256"}, r"not '@256'"),
        ({"f3": "@1.5"}, r"not '@1.5'"),
    ],
)
def test_what_cannot_be_is_refused(weights, said):
    with pytest.raises(InputError, match=said):
        steer(QUERIES, weights)


def test_what_is_written_is_read_back():
    weights = {"f7336": 0.0, "f2499": 2.5, "f12": "@80"}
    assert parse_steering(format_steering(weights)) == weights
    assert parse_steering(" f7336 = 0 , f2499=2.5,f12=@80,") == weights
    assert parse_steering("") == {}


@pytest.mark.parametrize("text", ["f7", "f7=", "=2", "f7=two", "7=2", "f7:2", "f7=1=2", "f07=1", "f7=2;f8=1"])
def test_malformed_steering_is_refused(text):
    with pytest.raises(InputError, match=r"^--steer takes LATENT=FACTOR or LATENT=@IMPACT, such as .*not '"):
        parse_steering(text)


def test_a_latent_named_twice_is_refused():
    with pytest.raises(InputError, match=r"--steer names f7 twice"):
        parse_steering("f7=1,f7=2")
