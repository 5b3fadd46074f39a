"""Weighted terms as Lucene queries."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from pyserini_splare.lucene import CONTENTS, EXACT_FLOAT, lucene
from splare_plugins.errors import InputError

# What the query parser reads as one term and nothing else; words in capitals could be its operators.
_PLAIN = re.compile(r"[a-z0-9]+")


class QueryBuilder:
    """Turns ``{"f12": 87}`` into Lucene's sum of boosted terms.

    One string through Lucene's query parser takes a tenth of the time of one call into Java for each term, and
    makes the same query.
    """

    def __init__(self) -> None:
        self._parser = lucene("queryparser.classic.QueryParser")(
            CONTENTS, lucene("analysis.core.WhitespaceAnalyzer")()
        )
        self._term, self._term_query = lucene("index.Term"), lucene("search.TermQuery")
        self._boost = lucene("search.BoostQuery")
        self._should = lucene("search.BooleanClause$Occur").SHOULD

    def build(self, weights: Mapping[str, float]) -> Any:
        """The Lucene query of at least one term, with weights > 0 that :func:`usable_weights` let through."""
        if all(map(_PLAIN.fullmatch, weights)):
            return self._parser.parse(" ".join([f"{term}^{_number(weight)}" for term, weight in weights.items()]))
        builder = lucene("search.BooleanQuery$Builder")()
        for term, weight in weights.items():
            clause = self._boost(self._term_query(self._term(CONTENTS, term)), float(weight))
            builder.add(clause, self._should)
        return builder.build()


def usable_weights(weights: Mapping[str, float]) -> dict[str, float]:
    """The terms that can add to a score: those with a weight above 0.

    Lucene refuses negative boosts, and a boost of 0 would return every document of the term with the score 0.

    Raises:
        InputError: for a weight that is not a finite number or that float32 cannot represent.
    """
    usable = {}
    for term, weight in weights.items():
        if not isinstance(weight, int | float | np.number) or not -EXACT_FLOAT <= weight <= EXACT_FLOAT:
            raise InputError(f"the query weight of {term!r} must be a number up to {EXACT_FLOAT}, not {weight!r}")
        if weight > 0:
            usable[term] = weight.item() if isinstance(weight, np.number) else weight
    return usable


def _number(weight: float) -> str:
    # The parser knows no exponents.
    return str(weight) if isinstance(weight, int) else np.format_float_positional(weight, trim="-")
