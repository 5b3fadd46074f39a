"""Integer scores beyond the reach of float32.

Lucene adds up in double precision and returns float32, which holds every integer up to 16,777,216 and rounds
above. Two 8-bit factors and more than 258 shared features get there. Rounding never swaps two documents, so the
true best ones are among those whose rounded score is not clearly below the k-th; their scores are then computed
again in parts that are small enough to be exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pyserini_splare.hits import TopHits, TopHitsReader
from pyserini_splare.jvm import java_class
from pyserini_splare.lucene import EXACT_FLOAT, ID, lucene
from pyserini_splare.queries import QueryBuilder

# Each term's product and the final sum may each be off by one part in 2^24; this leaves ample room.
_SLACK = 1 - 2.0**-21


def exact_top(
    reader: TopHitsReader, builder: QueryBuilder, weights: Mapping[str, int], rounded: TopHits, k: int
) -> TopHits:
    """The best ``k`` documents by exact score, for a query of integers > 0.

    ``rounded`` is Lucene's answer to it for ``k``, with scores above :data:`EXACT_FLOAT` among them.
    """
    query = builder.build(weights)
    asked, candidates = k, rounded
    while len(candidates.docids) == asked and candidates.scores[-1] >= candidates.scores[k - 1] * _SLACK:
        asked *= 2
        candidates = reader.top(query, asked)
    bytes_ref, ids = lucene("util.BytesRef"), java_class("java.util.ArrayList")()
    for docid in candidates.docids:
        ids.add(bytes_ref(docid.encode()))
    among = lucene("search.TermInSetQuery")(ID, ids, signature="(Ljava/lang/String;Ljava/util/Collection;)V")
    pieces = min(len(weights), int(2 * rounded.scores[0] / EXACT_FLOAT) + 1)
    parts = [list(weights)[start::pieces] for start in range(pieces)]
    scores = np.zeros(len(candidates.docids))
    while parts:
        part = parts.pop()
        # A lone term is asked for its frequency, and multiplied here.
        factor = weights[part[0]] if len(part) == 1 else 1
        query = builder.build({term: weights[term] // factor for term in part})
        found = _restricted_scores(reader, query, among, candidates)
        if len(part) > 1 and found.max() >= EXACT_FLOAT:
            parts += [part[::2], part[1::2]]
        else:
            scores += found * factor
    order = sorted(range(len(scores)), key=lambda position: (-scores[position], candidates.docids[position]))[:k]
    return TopHits(
        [candidates.numbers[position] for position in order],
        [candidates.docids[position] for position in order],
        scores[order],
    )


def _restricted_scores(reader: TopHitsReader, query: Any, among: Any, candidates: TopHits) -> np.ndarray:
    """Lucene's scores of ``candidates`` by ``query``, in their order; 0 where it adds nothing."""
    occur = lucene("search.BooleanClause$Occur")
    both = lucene("search.BooleanQuery$Builder")()
    both.add(among, occur.FILTER)
    both.add(query, occur.SHOULD)
    restricted = both.build()
    asked = len(candidates.docids) + 1
    hits = reader.top(restricted, asked)
    # In an index that is not ours, several documents may share an id and all come back.
    while len(hits.docids) == asked:
        asked *= 2
        hits = reader.top(restricted, asked)
    found = dict(zip(hits.numbers, hits.scores.tolist(), strict=True))
    return np.array([found[number] for number in candidates.numbers])
