"""The backbone under a SPLARE model as the dense bi-encoder that it was, for hybrids."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pyterrier as pt
from more_itertools import chunked

from pyterrier_splare.encoders import ColumnEncoder
from pyterrier_splare.role import Role, RowRole

if TYPE_CHECKING:
    import pandas as pd


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
            language model, since the mean of such states is not an embedding.
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
        queries = self.query_encoder().encode_column(self._texts("query", inp), inp["qid"].tolist())
        texts = self.doc_encoder().encode_column(self._texts("document", inp), inp["docno"].tolist())
        scores = [float(one @ other) for one, other in zip(queries, texts, strict=True)]
        return pt.model.add_ranks(inp.assign(score=np.array(scores, dtype=np.float64)))


class DenseEncoder(ColumnEncoder):
    """Vectors are float32 arrays."""

    def _vectors(self, texts: list[str], owners: list[str]) -> list[np.ndarray]:
        from splare_plugins.model.dense import dense_vectors  # brings torch

        splare = self.splare
        return [
            vector
            for window in chunked(texts, splare.batch_size)
            for vector in dense_vectors(splare.model, window, self._side, tokens_per_batch=splare.tokens_per_batch)
        ]


class DenseQueryEncoder(DenseEncoder):
    """Adds ``query_vec`` to queries, or to results with their queries."""

    schematic: ClassVar = {"label": "Dense query"}
    _method = "dense().query_encoder"
    _side = "query"
    _output = "query_vec"


class DenseDocEncoder(DenseEncoder, RowRole):
    """Adds ``doc_vec`` to documents, or to results with their texts."""

    schematic: ClassVar = {"label": "Dense doc"}
    _method = "dense().doc_encoder"
    _side = "document"
    _output = "doc_vec"
