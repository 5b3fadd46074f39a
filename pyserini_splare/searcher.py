"""Searches Lucene indexes of impacts: ours, and those that Anserini made."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from pyserini_splare.exact import exact_top
from pyserini_splare.hits import TopHitsReader
from pyserini_splare.jvm import java_class
from pyserini_splare.lucene import (
    CONTENTS,
    EXACT_FLOAT,
    ID,
    RAW,
    USER_DATA_KEY,
    check_path,
    impact_similarity,
    is_index,
    java_errors,
    lucene,
    open_directory,
    open_searcher,
)
from pyserini_splare.queries import QueryBuilder, usable_weights
from pyserini_splare.threads import ThreadClaim
from splare_plugins.config import SplareConfig
from splare_plugins.engines.base import Hits, Searcher
from splare_plugins.engines.checks import check_k, check_width
from splare_plugins.errors import InputError
from splare_plugins.impacts import to_dicts
from splare_plugins.steering import Weights, steer


class LuceneSearcher(Searcher):
    """Exact top-k search by integer dot products.

    In contrast to Pyserini's own ``LuceneImpactSearcher`` it keeps features that occur in every document, takes
    more than 1,024 features and float weights, and returns scores without the changes that part ties. Ties are
    ordered by document id.

    Args:
        location: folder of the index.

    Attributes:
        config: the model that made the index; ``None`` if it was not made by :class:`LuceneWriter` with one.
        num_docs: documents in the index.
        identity: everything the writer noted in the index: ``config``, ``documents``, ``empty``, ``impacts``,
            ``lucene``; empty for indexes of others.

    Raises:
        InputError: if there is no index, it is damaged, or it holds no impacts.
        ThreadError: if another thread has a Lucene index open.
    """

    def __init__(self, location: str | Path) -> None:
        self.location = Path(location)
        if not is_index(self.location):
            raise InputError(f"there is no Lucene index at {self.location}")
        self._claim = ThreadClaim(self, f"the Lucene index {self.location}")
        self._frequencies: dict[str, int] = {}
        self._reader: Any = None
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def search(self, impacts: csr_array, k: int, *, weights: Weights | None = None) -> list[Hits]:
        """The best ``k`` documents for every query.

        Args:
            impacts: integers or floats, shape ``(n, width)``; weights of 0 or less are ignored.
            k: most documents per query.
            weights: changes to latents of all queries; see :meth:`Searcher.search`.

        Raises:
            InputError: if ``k`` is below 1, a weight is not finite, or the model of the index has another width.
        """
        check_width(impacts, None if self.config is None else self.config.width)
        return self.search_dicts(to_dicts(steer(impacts, weights)), k)

    def search_dicts(self, queries: Sequence[Mapping[str, float]], k: int) -> list[Hits]:
        """Search for queries given as terms with weights, of any vocabulary.

        Integer weights give exact scores of any size; float weights are Lucene's float32, and so are the scores.
        """
        self._check()
        check_k(k)
        usable = [usable_weights(query) for query in queries]
        with java_errors(f"the Lucene index {self.location} cannot be searched", "if it is damaged, make it again"):
            return [self._search(query, k) for query in usable]

    def document(self, docid: str) -> str | None:
        """What was stored of a document, as JSON; ``None`` without such a document or without stored text."""
        number = self._number(docid)
        if number is None:
            return None
        raw = self._stored.document(number).get(RAW)
        return None if raw is None else str(raw)

    def documents(self) -> Iterator[tuple[str, str]] | None:
        """Id and stored JSON of every document; ``None`` for an index without stored texts."""
        self._check()
        if not self.num_docs or self._stored.document(0).get(RAW) is None:
            return None
        stored = map(self._stored.document, range(self._reader.maxDoc()))
        return ((str(each.get(ID)), str(each.get(RAW))) for each in stored)

    def num_impacts(self) -> int:
        """Impacts of all documents together."""
        return self.statistics()["postings"]

    def vector(self, docid: str) -> dict[str, int] | None:
        """The impacts of a document, from term vectors or from the ``vector`` of its stored JSON.

        Returns:
            ``None`` if there is no such document, or the index does not keep vectors.
        """
        number = self._number(docid)
        if number is None:
            return None
        if self._reader.termVectors().get(number, CONTENTS) is not None:
            counts = java_class("io.anserini.index.IndexReaderUtils").getDocumentVector(self._reader, docid)
            vector: dict[str, int] = json.loads(self._hits.to_json(counts))
            return vector
        raw = self.document(docid)
        return json.loads(raw).get("vector") if raw else None

    def document_frequency(self, term: str) -> int:
        """In how many documents ``term`` occurs."""
        if term not in self._frequencies:
            self._check()
            self._frequencies[term] = self._reader.docFreq(lucene("index.Term")(CONTENTS, term))
        return self._frequencies[term]

    def statistics(self) -> dict[str, int]:
        """Distinct terms, postings and the sum of all impacts of the index."""
        self._check()
        numbers = self._searcher.collectionStatistics(CONTENTS)
        if numbers is None:
            return {"terms": 0, "postings": 0, "impacts": 0}
        terms = java_class("io.anserini.index.IndexReaderUtils").getIndexStats(self._reader).get("unique_terms")
        postings, impacts = int(numbers.sumDocFreq()), int(numbers.sumTotalTermFreq())
        return {"terms": int(terms), "postings": postings, "impacts": impacts}

    def close(self) -> None:
        """Close the index; a second time does nothing."""
        self._claim.check()
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        self._claim.release()

    def _search(self, weights: dict[str, float], k: int) -> Hits:
        if not weights:
            return Hits([], np.zeros(0))
        top = self._hits.top(self._builder.build(weights), k)
        if len(top.scores) and top.scores[0] >= EXACT_FLOAT and all(map(_is_whole, weights.values())):
            integers = {term: int(weight) for term, weight in weights.items()}
            top = exact_top(self._hits, self._builder, integers, top, k)
        return Hits(top.docids, top.scores)

    def _open(self) -> None:
        check_path(self.location)
        with java_errors(
            f"the Lucene index {self.location} cannot be opened",
            "it is damaged or was made by another version of Lucene, so make it again",
        ):
            self._reader = lucene("index.DirectoryReader").open(open_directory(self.location))
            self._searcher = open_searcher(self._reader, impact_similarity())
            noted = self._reader.getIndexCommit().getUserData().get(USER_DATA_KEY)
            self.num_docs = int(self._reader.numDocs())
            impacts = self._holds_impacts()
        self.identity: dict[str, Any] = json.loads(noted) if noted else {}
        if not impacts and not self.identity:
            raise InputError(
                f"the Lucene index {self.location} holds no impacts that can be searched; make one with "
                "splare index lucene, or with Anserini's --impact"
            )
        config = self.identity.get("config")
        self.config = SplareConfig.from_dict(config) if config else None
        self._stored = self._reader.storedFields()
        self._hits = TopHitsReader(self._searcher)
        self._builder = QueryBuilder()

    def _holds_impacts(self) -> bool:
        """Whether there are terms to search and ids to return."""
        fields = lucene("index.FieldInfos").getMergedFieldInfos(self._reader)
        ids = fields.fieldInfo(ID)
        known = ids is not None and fields.fieldInfo(CONTENTS) is not None
        return known and str(ids.getDocValuesType().toString()) == "BINARY"

    def _number(self, docid: str) -> int | None:
        """Lucene's number of the document ``docid``."""
        self._check()
        hits = self._hits.top(lucene("search.TermQuery")(lucene("index.Term")(ID, docid)), 1)
        return hits.numbers[0] if hits.numbers else None

    def _check(self) -> None:
        self._claim.check()
        if self._reader is None:
            raise InputError(f"the searcher of {self.location} is closed; open a new one")


def _is_whole(weight: float) -> bool:
    return isinstance(weight, int) or math.floor(weight) == weight
