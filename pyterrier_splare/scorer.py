"""Results to scores: the dot product of query and document, which every exact engine gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pyterrier as pt
from scipy.sparse import csr_array, vstack

from pyterrier_splare.columns import distinct, is_missing
from pyterrier_splare.identity import is_stale, require_same_model
from pyterrier_splare.role import FactorySetting, Role
from splare_plugins.config import Side
from splare_plugins.errors import InputError
from splare_plugins.impacts import from_dicts

if TYPE_CHECKING:
    import pandas as pd

# Results multiplied together; bounds the memory, whatever the size of the frame.
_ROWS_AT_ONCE = 8192


class SplareScorer(Role):
    """Sets ``score`` and ``rank`` of results from ``query`` and text, or from ``query_toks`` and ``toks`` if present.

    Each different query and each different text is encoded once, however often it appears. With integer impacts the
    score is the integer that the exact engines return.

    Raises:
        InputError: for a text that is not a string, or a token that is not a latent of the model.
        IdentityError: for tokens that another model made.
    """

    schematic: ClassVar = {"label": "SPLARE scorer"}
    query_top_k = FactorySetting()
    doc_top_k = FactorySetting()
    _method = "scorer"

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Score a frame of results; the rows keep their order."""
        field = self.splare.text_field
        with pt.validate.any(inp, context=self) as accepted:
            for query in ("query", "query_toks"):
                for document in (field, "toks"):
                    accepted.result_frame([query, document])
        if not len(inp):
            return pt.model.add_ranks(inp.assign(score=np.empty(0)))
        queries, query_rows = self._vectors(inp, "query", "query_toks")
        documents, document_rows = self._vectors(inp, "document", "toks")
        return pt.model.add_ranks(inp.assign(score=row_products(queries, query_rows, documents, document_rows)))

    def _vectors(self, inp: pd.DataFrame, side: Side, given: str) -> tuple[csr_array, list[int]]:
        """Vectors, and for each row of the frame the number of its vector.

        Tokens (in the column ``given``) hold for all rows with the same id, since a union of two rankings has them in
        some rows only. What has none is encoded, and so is what was rewritten since it was encoded.
        """
        kind, column = self._columns(side)
        ids = inp[kind].tolist()
        cells = inp[given].tolist() if given in inp.columns else [None] * len(ids)
        now = self._texts(side, inp) if column in inp.columns else [None] * len(ids)
        tokens = {owner: cell for owner, cell in zip(ids, cells, strict=True) if not is_missing(cell)}
        for owner, text in zip(ids, now, strict=True):
            if is_stale(tokens.get(owner), text):
                del tokens[owner]
        for owner, cell in tokens.items():
            if not isinstance(cell, dict):
                raise InputError(
                    f"{kind} {owner!r} has {cell!r} in the column {given!r}, which is not a dictionary of latents; "
                    "drop the column"
                )
        without = [row for row, owner in enumerate(ids) if owner not in tokens]
        if without and column not in inp.columns:
            raise InputError(f"{kind} {ids[without[0]]!r} has neither {given} nor a column {column!r} to encode")
        found = distinct([now[row] for row in without], [ids[row] for row in without], column=column, kind=kind)
        numbers = {owner: number for number, owner in enumerate(tokens)}
        places = [numbers.get(owner, -1) for owner in ids]
        for row, place in zip(without, found.places, strict=True):
            places[row] = len(tokens) + place
        parts = []
        if tokens:
            owners = list(tokens)
            require_same_model(
                tokens.values(),
                self.splare.config,
                "the scorer",
                lambda row: f"{kind} {owners[row]!r}",
                f"encode them again with its encoders, or drop the column {given!r}",
            )
            parts.append(from_dicts(tokens.values(), self.splare.model.config.width, floats=True))
        if found.texts:
            parts.append(self.splare.encode(found.texts, side, found.owners))
        return vstack(parts, format="csr"), places


def row_products(
    queries: csr_array, query_rows: list[int], documents: csr_array, document_rows: list[int]
) -> np.ndarray:
    """Dot products of pairs of rows, float64, which holds the integers exactly."""
    queries, documents = queries.astype(np.float64), documents.astype(np.float64)
    scores = np.empty(len(query_rows))
    for start in range(0, len(scores), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        scores[rows] = queries[query_rows[rows]].multiply(documents[document_rows[rows]]).sum(axis=1)
    return scores
