"""``splare estimate``: formulas, units, and what cannot be estimated."""

from __future__ import annotations

import pytest

from splare_plugins.errors import InputError
from splare_plugins.retrieval.estimate import (
    Load,
    constants,
    engine_names,
    estimate_encoding,
    estimate_index,
    parse_count,
)

MEASURED = {
    "engines": {
        "one": {
            "index_bytes": [1e6, 2.0],
            "build_cpu_hours": [0.1, 1e-9],
            "latency_ms": [2.0, 1e-4],
            "measured_up_to": 10,
        }
    },
    "encoding": {
        "encoded_bytes_per_posting": 3.0,
        "core_flops_per_second": {"float32": 1e11},
        "gpu": [
            {"name": "small", "flops_per_token": 1e8, "flops_per_second": 1e14},
            {"name": "large", "flops_per_token": 1e10, "flops_per_second": 4e14},
        ],
    },
}


def test_lines_over_the_postings():
    found = estimate_index("one", Load(documents=1000, latents=100, query_latents=20), MEASURED)
    assert found["index_bytes"] == 1e6 + 2 * 1e5
    assert found["build_cpu_hours"] == pytest.approx(0.1001)
    assert found["latency_ms"] == pytest.approx(0.5 * (2 + 10))
    assert "build_memory_bytes" not in found


@pytest.mark.parametrize(("flops", "rate"), [(1e8, 1e14), (1e10, 4e14), (1e9, 2e14), (1e6, 1e14), (1e12, 4e14)])
def test_a_card_is_as_busy_as_with_models_of_that_size(flops, rate):
    load = Load(documents=10**6, latents=100, tokens=50)
    found = estimate_encoding(flops, load, MEASURED)
    assert found["gpu_hours"] == pytest.approx(flops * 50 * 1e6 / rate / 3600)
    assert found["core_hours_float32"] == pytest.approx(flops * 50 * 1e6 / 1e11 / 3600)
    assert found["encoded_bytes"] == 3e8


@pytest.mark.parametrize(
    ("text", "count"),
    [("8.8M", 8_800_000), ("12k", 12_000), ("1B", 10**9), ("1,000", 1000), (" 5 ", 5), ("2m", 2 * 10**6)],
)
def test_counts(text, count):
    assert parse_count(text) == count


@pytest.mark.parametrize("text", ["", "M", "0", "-3", "many", "1.2.3", "nan", "infM"])
def test_what_is_no_count(text):
    with pytest.raises(InputError, match="a number of documents is written 8800000"):
        parse_count(text)


def test_what_ships_grows_with_the_corpus():
    assert {"lucene", "pisa", "seismic", "memory", "opensearch"} == set(engine_names())
    for engine in engine_names():
        few, many = (estimate_index(engine, Load(documents=n)) for n in (10**6, 10**8))
        assert few.keys() == many.keys()
        assert all(0 < few[name] < many[name] for name in few)
    assert all(rate > 0 for rate in constants()["encoding"]["core_flops_per_second"].values())


def test_nothing_and_the_unknown_are_refused():
    with pytest.raises(InputError, match="number of documents above 0"):
        Load(documents=0)
    with pytest.raises(InputError, match="'solr' was not measured; choose one of"):
        estimate_index("solr", Load(documents=1))
