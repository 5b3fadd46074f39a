"""Lucene's best documents in three calls into Java, however many they are.

A call from Python into Java costs some microseconds, so asking every hit for its id and score takes longer than
the search. Here Lucene sorts by score and id, which puts the ids into its answer, and Jackson, which comes in
Anserini's jar, writes the whole answer as one string.
"""

from __future__ import annotations

import base64
import json
from typing import Any, NamedTuple

import numpy as np

from pyserini_splare.jvm import java_class
from pyserini_splare.lucene import ID, lucene


class TopHits(NamedTuple):
    """The best documents of one query: score descending, then id ascending."""

    numbers: list[int]
    """Lucene's document numbers."""
    docids: list[str]
    scores: np.ndarray
    """float64, holding Lucene's float32 scores."""


class TopHitsReader:
    """Runs queries on a Lucene ``IndexSearcher`` and reads the answers."""

    def __init__(self, searcher: Any) -> None:
        self._searcher = searcher
        field, kind = lucene("search.SortField"), lucene("search.SortField$Type")
        by_id = field(ID, kind.STRING_VAL, signature="(Ljava/lang/String;Lorg/apache/lucene/search/SortField$Type;)V")
        self._sort = lucene("search.Sort")(field.FIELD_SCORE, by_id)
        self._mapper = java_class("com.fasterxml.jackson.databind.ObjectMapper")()
        self._leave_out("org.apache.lucene.search.TopFieldDocs", "totalHits", "fields")
        self._leave_out("org.apache.lucene.search.FieldDoc", "score", "shardIndex")
        self._leave_out("org.apache.lucene.util.BytesRef", "valid")

    def top(self, query: Any, k: int) -> TopHits:
        """The best ``k`` documents of a Lucene query."""
        hits = json.loads(self.to_json(self._searcher.search(query, k, self._sort)))["scoreDocs"]
        docids = []
        for hit in hits:
            value = hit["fields"][1]
            start = value["offset"]
            docids.append(base64.b64decode(value["bytes"])[start : start + value["length"]].decode())
        # Java prints the shortest digits that tell one float32 from its neighbours; going through float32
        # brings back the very number.
        scores = np.array([hit["fields"][0] for hit in hits], dtype=np.float32).astype(np.float64)
        return TopHits([hit["doc"] for hit in hits], docids, scores)

    def to_json(self, value: Any) -> str:
        """A Java object as JSON."""
        return str(self._mapper.writeValueAsString(value))

    def _leave_out(self, name: str, *properties: str) -> None:
        names = java_class("java.util.HashSet")()
        for name_of_property in properties:
            names.add(name_of_property)
        ignored = java_class("com.fasterxml.jackson.annotation.JsonIgnoreProperties$Value").forIgnoredProperties(names)
        self._mapper.configOverride(java_class("java.lang.Class").forName(name)).setIgnorals(ignored)
