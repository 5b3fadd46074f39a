"""A person's hand on a query: latents switched off, turned up or down, or put in, before any engine sees it.

The result is a query of integer impacts as any other, so every engine answers it with the same integers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real

import numpy as np
from scipy.sparse import csr_array

from splare_plugins.errors import InputError
from splare_plugins.impacts import MAX_IMPACT, latent_id

Weights = Mapping[str, float | str]
"""By pseudo-term: a factor on the query's impact (0 switches the latent off), or ``"@80"``, the impact itself, which
puts a latent in that the query lacks."""


def parse_steering(text: str, option: str = "--steer") -> dict[str, float | str]:
    """Read ``"f7336=0,f2499=2,f12=@80"``.

    Args:
        text: pairs, parted by commas; none at all is fine.
        option: what messages call it.

    Raises:
        InputError: for a pair that is not one, a latent that is named twice, or a weight that cannot be one.
    """
    weights: dict[str, float | str] = {}
    for pair in filter(None, (pair.strip() for pair in text.split(","))):
        term, _, value = (part.strip() for part in pair.partition("="))
        if term in weights:
            raise InputError(f"{option} names {term} twice; keep one of them")
        try:
            latent_id(term)
            weights[term] = value if value.startswith("@") else float(value)
        except (ValueError, InputError):
            raise InputError(
                f"{option} takes LATENT=FACTOR or LATENT=@IMPACT, such as f7336=0,f2499=2,f12=@80, not {pair!r}"
            ) from None
    _checked(weights, math.inf)
    return weights


def format_steering(weights: Weights) -> str:
    """What :func:`parse_steering` reads."""
    return ",".join(f"{term}={value if isinstance(value, str) else f'{value:g}'}" for term, value in weights.items())


def steer(impacts: csr_array, weights: Weights | None) -> csr_array:
    """Queries with some of their latents changed.

    A factor is multiplied with the query's impact and rounded half up; as the quantiser's, the result is at most 255,
    and what rounds to 0 is gone. Queries that lack the latent stay as they are. Float weights are not rounded.

    Args:
        impacts: of queries, shape ``(n, width)``.
        weights: what to change; ``None`` or an empty one changes nothing.

    Raises:
        InputError: for a latent that there is not, or a weight that cannot be one.
    """
    if not weights:
        return impacts
    factors, given = _checked(weights, impacts.shape[1])
    factor = np.ones(impacts.shape[1])
    factor[[*factors, *given]] = [*factors.values(), *(0 for _ in given)]
    changed, values = factor[impacts.indices] != 1, impacts.data * factor[impacts.indices]
    if np.issubdtype(impacts.dtype, np.integer):
        values = np.where(changed, np.minimum(np.floor(values + 0.5), MAX_IMPACT), values)
    steered = csr_array((values.astype(impacts.dtype), impacts.indices.copy(), impacts.indptr.copy()), impacts.shape)
    if given:
        latents = np.tile(np.array(sorted(given), dtype=np.int32), impacts.shape[0])
        added = np.tile(np.array([given[each] for each in sorted(given)], dtype=impacts.dtype), impacts.shape[0])
        ends = np.arange(impacts.shape[0] + 1) * len(given)
        steered = csr_array(steered + csr_array((added, latents, ends), impacts.shape))
    steered.eliminate_zeros()
    steered.sort_indices()
    return steered


def without_effect(impacts: csr_array, weights: Weights | None) -> list[str]:
    """The latents whose factor changes nothing, because no query of ``impacts`` has them."""
    there = set(np.unique(impacts.indices).tolist())
    return [
        term for term, value in (weights or {}).items() if not isinstance(value, str) and latent_id(term) not in there
    ]


def _checked(weights: Weights, width: float) -> tuple[dict[int, float], dict[int, int]]:
    """Factors and impacts by latent."""
    factors: dict[int, float] = {}
    given: dict[int, int] = {}
    for term, value in weights.items():
        latent = latent_id(term) if isinstance(term, str) else -1
        if not 0 <= latent < width:
            raise InputError(
                f"there is no latent {term!r}; this model has f0 to f{width - 1:.0f}, of which an explanation lists "
                "the query's"
            )
        if isinstance(value, str):
            digits = value.removeprefix("@")
            if digits == value or not (digits.isascii() and digits.isdigit() and 1 <= int(digits) <= MAX_IMPACT):
                raise InputError(
                    f"the impact of {term} must be @ and a whole number from 1 to {MAX_IMPACT}, such as @80, "
                    f"not {value!r}"
                )
            given[latent] = int(digits)
        elif isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) < math.inf:
            raise InputError(
                f"the factor of {term} must be a finite number of at least 0, where 0 switches it off, not {value!r}"
            )
        else:
            factors[latent] = float(value)
    return factors, given
