"""What a corpus will cost: bytes, hours, memory and latency, from formulas whose constants are measured.

``capacity.json`` beside this file has the constants; ``benchmarks/capacity.py`` makes it from the records of the
benchmarks, and writes into docs/capacity.md how far each formula is from each measured row. Sizes, build times,
memory and latency are straight lines in the number of postings; encoding is arithmetic over a measured rate.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np

from splare_plugins.config import SplareConfig
from splare_plugins.errors import InputError

QUERY_LATENTS = 40
_HOUR = 3600


@dataclass(frozen=True, kw_only=True)
class Load:
    """What is to be indexed.

    Attributes:
        documents: how many.
        latents: of a document, the mean.
        query_latents: of a query, the mean.
        tokens: of a document, the mean, special tokens included.
    """

    documents: int
    latents: float = 400
    query_latents: float = QUERY_LATENTS
    tokens: float = 200

    def __post_init__(self) -> None:
        for name in ("documents", "latents", "query_latents", "tokens"):
            value = getattr(self, name)
            if not value > 0:
                raise InputError(f"an estimate needs a number of {name.replace('_', ' ')} above 0, not {value}")

    @property
    def postings(self) -> float:
        """Impacts of all documents."""
        return self.documents * self.latents


@lru_cache(maxsize=1)
def constants() -> dict[str, Any]:
    """What was measured."""
    found: dict[str, Any] = json.loads(
        files("splare_plugins.retrieval").joinpath("capacity.json").read_text(encoding="utf-8")
    )
    return found


def engine_names() -> list[str]:
    """Engines that were measured."""
    return list(constants()["engines"])


def estimate_index(engine: str, load: Load, measured: Mapping[str, Any] | None = None) -> dict[str, float]:
    """An index of an engine, built by one process and searched by one thread.

    Args:
        engine: its name.
        load: what is in it.
        measured: constants to use instead of those that ship.

    Returns:
        ``index_bytes``, ``build_cpu_hours``, ``build_memory_bytes``, ``search_memory_bytes`` and ``latency_ms``, the
        median of a query without encoding it; those that were measured.

    Raises:
        InputError: for an engine that was not measured.
    """
    engines = (measured or constants())["engines"]
    if engine not in engines:
        raise InputError(f"the engine {engine!r} was not measured; choose one of {', '.join(engines)}")
    found = engines[engine]
    values = {name: line(found[name], load.postings) for name in found if isinstance(found[name], list)}
    # Every latent of a query is a list to go through.
    values["latency_ms"] *= load.query_latents / QUERY_LATENTS
    return values


def estimate_encoding(
    flops_per_token: float, load: Load, measured: Mapping[str, Any] | None = None
) -> dict[str, float]:
    """Encoding a corpus.

    Args:
        flops_per_token: of the model: two for each weight of a linear layer and of the head.
        load: what is encoded.
        measured: constants to use instead of those that ship.

    Returns:
        ``encoded_bytes`` of the Parquet parts, ``gpu_hours`` on the card that was measured, and hours of one core for
        each precision that was.
    """
    found = (measured or constants())["encoding"]
    work = flops_per_token * load.tokens * load.documents
    sizes, rates = (
        np.log([point["flops_per_token"] for point in found["gpu"]]),
        [point["flops_per_second"] for point in found["gpu"]],
    )
    # A small model leaves more of a large card idle; beyond the measured sizes the nearest one counts.
    rate = float(np.exp(np.interp(np.log(flops_per_token), sizes, np.log(rates))))
    hours = {f"core_hours_{name}": work / speed / _HOUR for name, speed in found["core_flops_per_second"].items()}
    return {
        "encoded_bytes": load.postings * found["encoded_bytes_per_posting"],
        "gpu_hours": work / rate / _HOUR,
        **hours,
    }


def line(terms: list[float], postings: float) -> float:
    """A constant and so much a posting."""
    return terms[0] + terms[1] * postings


def flops_per_token(config: SplareConfig, linear_weights: int, state_size: int) -> float:
    """Of a model: two for each weight of a linear layer and of the head; attention's products are left out."""
    return 2.0 * (linear_weights + state_size * config.width)


def parse_count(text: str) -> int:
    """``8.8M`` as a number: k, M and B are thousands, millions and billions.

    Raises:
        InputError: for anything else.
    """
    units = {"k": 10**3, "m": 10**6, "b": 10**9}
    digits = text.strip().replace(",", "").replace("_", "")
    unit = units.get(digits[-1:].lower(), 1)
    try:
        count = round(float(digits[:-1] if unit > 1 else digits) * unit)
    except (ValueError, OverflowError):
        count = 0
    if count < 1:
        raise InputError(f"a number of documents is written 8800000 or 8.8M, not {text!r}")
    return count
