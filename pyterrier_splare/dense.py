"""The backbone under a SPLARE model as the dense bi-encoder that it was, for hybrids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import pyterrier as pt

from pyterrier_splare.role import Role, RowRole
from pyterrier_splare.texts import distinct, require_docnos, require_new_qids

if TYPE_CHECKING:
    import pandas as pd

    from pyterrier_splare.settings import SplareSettings


class DenseBackbone(Role):
    """Mean of all token states, scaled to length 1: what models of the E5 family were trained for.

    A transformer that scores results with texts; :meth:`query_encoder` and :meth:`doc_encoder` give ``query_vec`` and
    ``doc_vec``, float32, which dense indexes such as those of ``pyterrier_dr`` take. The model is loaded once for
    both, sparse and dense, and its prompts and length limits hold.

    .. code-block:: python

        bm25 >> (splare.scorer() + 300 * splare.dense())

    Args:
        splare: the factory.

    Raises:
        InputError: at the first text, if the backbone is cut below its last layer, has an adapter, or is that of a
            language model, since the mean of such states is no embedding.
    """

    schematic: ClassVar = {"label": "Dense backbone"}
    _method = "dense"

    def query_encoder(self) -> DenseQueryEncoder:
        """Queries to ``query_vec``."""
        return DenseQueryEncoder(self.splare)

    def doc_encoder(self) -> DenseDocEncoder:
        """Documents to ``doc_vec``."""
        return DenseDocEncoder(self.splare)

    def scorer(self) -> DenseBackbone:
        """Itself; the name that bi-encoders have."""
        return self

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Set ``score``, the cosine of query and text, and ``rank``."""
        field = self.splare.text_field
        pt.validate.result_frame(inp, ["query", field], context=self)
        queries = _encode(self.splare, inp["query"].tolist(), inp["qid"].tolist(), "query")
        texts = _encode(self.splare, inp[field].tolist(), inp["docno"].tolist(), "document")
        scores = [float(one @ other) for one, other in zip(queries, texts, strict=True)]
        return pt.model.add_ranks(inp.assign(score=np.array(scores, dtype=np.float64)))


class DenseQueryEncoder(Role):
    """Adds ``query_vec`` to queries, or to results with their queries."""

    schematic: ClassVar = {"label": "Dense query"}
    _method = "dense().query_encoder"

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Encode a frame of queries or of results."""
        with pt.validate.any(inp, context=self) as accepted:
            accepted.query_frame(["query"])
            accepted.result_frame(["query"])
        if "docno" not in inp.columns:
            require_new_qids(inp["qid"].tolist(), set())
        return inp.assign(query_vec=_encode(self.splare, inp["query"].tolist(), inp["qid"].tolist(), "query"))


class DenseDocEncoder(RowRole):
    """Adds ``doc_vec`` to documents, or to results with their texts."""

    schematic: ClassVar = {"label": "Dense doc"}
    _method = "dense().doc_encoder"

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Encode a frame of documents or of results."""
        field = self.splare.text_field
        with pt.validate.any(inp, context=self) as accepted:
            accepted.document_frame([field])
            accepted.result_frame([field])
        require_docnos(inp["docno"].tolist())
        return inp.assign(doc_vec=_encode(self.splare, inp[field].tolist(), inp["docno"].tolist(), "document"))


def _encode(
    splare: SplareSettings, values: Sequence[object], ids: Sequence[object], side: Literal["query", "document"]
) -> list[np.ndarray]:
    """One vector a row, float32; each different text is encoded once."""
    from splare_plugins.model.dense import dense_vectors  # brings torch

    column, kind = ("query", "qid") if side == "query" else (splare.text_field, "docno")
    found = distinct(values, ids, column=column, kind=kind)
    vectors: list[np.ndarray] = []
    for start in range(0, len(found.texts), splare.batch_size):
        texts = found.texts[start : start + splare.batch_size]
        vectors.extend(dense_vectors(splare.model, texts, side, tokens_per_batch=splare.tokens_per_batch))
    return [vectors[place] for place in found.places]
