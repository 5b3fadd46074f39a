"""The other ranking of the same index: BM25 over the texts that stand beside the vectors."""

from __future__ import annotations

import re

from opensearch_splare.mapping import TEXT_FIELDS
from opensearch_splare.queries import DEFAULT_MAX_CLAUSES, Body
from splare_plugins.latents.words import UNSPACED

# No analyser that keeps words whole makes more tokens of a text; Lucene parts those of more than 255 characters.
_TOKENS = re.compile(rf"[^\W{UNSPACED}]{{1,255}}|\S")


def words_query(text: str, *, max_clauses: int = DEFAULT_MAX_CLAUSES) -> Body:
    """A query by words, in which a document counts with the better of its two fields.

    Args:
        text: as people write it; of one with more words than the cluster takes, the beginning counts.
        max_clauses: the cluster's ``indices.query.bool.max_clause_count``.
    """
    for number, token in enumerate(_TOKENS.finditer(text), start=1):
        if number == max_clauses // len(TEXT_FIELDS):
            text = text[: token.end()]
            break
    return {"multi_match": {"query": text, "fields": list(TEXT_FIELDS)}}
