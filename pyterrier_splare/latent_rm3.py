"""Pseudo-relevance feedback: the best documents of a first search extend the query."""

from __future__ import annotations

import math
from collections.abc import Collection
from numbers import Real
from typing import TYPE_CHECKING, ClassVar

import pyterrier as pt

from pyterrier_splare.columns import is_missing
from pyterrier_splare.identity import Latents
from splare_plugins.errors import IdentityError, InputError
from splare_plugins.impacts import MAX_IMPACT, latent_id
from splare_plugins.retrieval.feedback import Weights, rm3_query

if TYPE_CHECKING:
    import pandas as pd


class LatentRM3(pt.Transformer):
    """RM3 over latents: results with ``query_toks`` and ``toks`` to queries with new ``query_toks``.

    .. code-block:: python

        search = splare.query_encoder() >> index.retriever()
        search % 10 >> Splare.from_encoded("shards") >> splare.rm3() >> index.retriever()

    ``toks`` come from ``Splare.from_encoded(folder)``, or from ``splare.doc_encoder()`` behind a text loader, which
    encodes every row: cut the ranking first. A query without results has no row, and so has none in the output.

    Args:
        fb_docs: documents taken for relevant, by rank.
        fb_terms: latents kept of each document, and of their model.
        original_query_weight: share of the query in the mix, 0 to 1.
        ignore: latents left out of documents, such as those of ``EncodedDocuments.frequent()``.
        floats: give weights that add up to 1 instead of integers of which the largest is 255.

    Raises:
        InputError: for settings out of range.
    """

    schematic: ClassVar = {"label": "Latent RM3"}

    def __init__(
        self,
        *,
        fb_docs: int = 10,
        fb_terms: int = 10,
        original_query_weight: float = 0.5,
        ignore: Collection[str] = (),
        floats: bool = False,
    ) -> None:
        if fb_docs < 1 or fb_terms < 1:
            raise InputError(f"fb_docs and fb_terms must be at least 1, not {fb_docs} and {fb_terms}")
        if not 0 <= original_query_weight <= 1:
            raise InputError(f"original_query_weight must be between 0 and 1, not {original_query_weight}")
        self.fb_docs = fb_docs
        self.fb_terms = fb_terms
        self.original_query_weight = original_query_weight
        self.ignore = frozenset(ignore)
        self.floats = floats

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Expand the queries of a frame of results.

        Raises:
            InputError: for tokens that are not latents, or a score that is not a finite number >= 0.
            IdentityError: for queries and documents of different models.
        """
        pt.validate.result_frame(inp, ["query_toks", "toks", "score"], context=self)
        kept = [name for name in inp.columns if name in pt.model.query_columns(inp)]
        ranked = inp if "rank" in inp.columns else pt.model.add_ranks(inp.copy())
        expanded = [self._expand(group.sort_values("rank")) for _, group in ranked.groupby("qid", sort=False)]
        return inp[kept].drop_duplicates("qid").reset_index(drop=True).assign(query_toks=expanded)

    def __repr__(self) -> str:
        settings = {**vars(self), "ignore": sorted(self.ignore)}
        return f"LatentRM3({', '.join(f'{name}={value!r}' for name, value in settings.items())})"

    def _expand(self, results: pd.DataFrame) -> dict[str, float]:
        qid = results["qid"].iloc[0]
        # A union of two rankings has them in some rows only.
        given = next((cell for cell in results["query_toks"] if not is_missing(cell)), None)
        query = _checked(given, f"the query_toks of qid {qid!r}")
        best = results.head(self.fb_docs)
        documents = []
        for docno, vector, score in zip(best["docno"], best["toks"], best["score"].tolist(), strict=True):
            if not (math.isfinite(score) and score >= 0):
                raise InputError(
                    f"qid {qid!r}, docno {docno!r}: the score {score} is not a finite number >= 0, which weighs "
                    "documents in feedback"
                )
            latents = _checked(vector, f"the toks of docno {docno!r}")
            _require_same_origin(query, latents, f"qid {qid!r}", f"docno {docno!r}")
            documents.append(({term: latents[term] for term in latents if term not in self.ignore}, score))
        mixed = rm3_query(query, documents, fb_terms=self.fb_terms, original_query_weight=self.original_query_weight)
        expanded = mixed if self.floats else _integers(mixed)
        return Latents(expanded, query.origin, query.text) if isinstance(query, Latents) else expanded


def _checked(vector: object, what: str) -> Weights:
    if not isinstance(vector, dict):
        raise InputError(f"{what} are {vector!r}, not a dictionary of latents; encode them first")
    for term, weight in vector.items():
        latent_id(str(term))
        if not (isinstance(weight, Real) and 0 < float(weight) < math.inf):
            raise InputError(f"{what}: the weight of {term} must be a finite number > 0, not {weight!r}")
    return vector


def _require_same_origin(query: Weights, document: Weights, qid: str, docno: str) -> None:
    if not (isinstance(query, Latents) and isinstance(document, Latents)):
        return
    if query.origin.fingerprint != document.origin.fingerprint:
        raise IdentityError(
            f"the latents of {qid} come from {query.origin.name}, but those of {docno} from "
            f"{document.origin.name}; encode both with one model"
        )


def _integers(weights: Weights) -> dict[str, float]:
    """The largest weight becomes 255; what rounds to 0 goes."""
    scale = MAX_IMPACT / max(weights.values(), default=1.0)
    rounded = {term: math.floor(weight * scale + 0.5) for term, weight in weights.items()}
    return {term: impact for term, impact in rounded.items() if impact}
