"""Impacts as the text that Lucene's delimited-term-frequency filter reads: ``f12|87 f904|3``."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import numpy as np
from scipy.sparse import csr_array

from splare_plugins.impacts import latent_terms

DELIMITER = "|"
# Weights up to here come from a table; larger ones are rare and are formatted one by one.
_TABLE_SIZE = 1 << 16


def term_texts(impacts: csr_array) -> list[str]:
    """One text for each row.

    The whole batch is laid out in one byte array of fixed-width cells, ``"  f12|87 "``: the whitespace tokenizer
    does not mind the padding, and nothing runs once per weight in Python.

    Args:
        impacts: int32, shape ``(n, width)``, values >= 1.

    Returns:
        ``n`` texts; an empty one for an empty row.
    """
    terms = _padded_terms(impacts.shape[1])
    weights = _padded_weights(impacts.data)
    cells = np.empty(impacts.nnz, dtype=[("term", terms.dtype), ("weight", weights.dtype)])
    cells["term"] = terms[impacts.indices]
    cells["weight"] = weights
    text = cells.tobytes().decode("ascii")
    bounds = (impacts.indptr.astype(np.int64) * cells.dtype.itemsize).tolist()
    return [text[start:end] for start, end in pairwise(bounds)]


@lru_cache(maxsize=4)
def _padded_terms(width: int) -> np.ndarray:
    terms = [f"{term}{DELIMITER}" for term in latent_terms(width)]
    longest = max(map(len, terms), default=0)
    return np.array([term.rjust(longest).encode() for term in terms], dtype=f"S{longest}")


def _padded_weights(weights: np.ndarray) -> np.ndarray:
    largest = int(weights.max(initial=0))
    if largest < _TABLE_SIZE:
        return _weight_table(256 if largest < 256 else _TABLE_SIZE)[weights]
    distinct, positions = np.unique(weights, return_inverse=True)
    return _pad_right([str(weight) for weight in distinct.tolist()])[positions]


@lru_cache(maxsize=2)
def _weight_table(size: int) -> np.ndarray:
    return _pad_right([str(weight) for weight in range(size)])


def _pad_right(texts: list[str]) -> np.ndarray:
    # One blank more than the longest: it parts this weight from the next term.
    width = max(map(len, texts)) + 1
    return np.array([text.ljust(width).encode() for text in texts], dtype=f"S{width}")
