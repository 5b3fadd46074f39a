"""Results to the latents that matched."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import pyterrier as pt

from pyterrier_splare.columns import distinct
from pyterrier_splare.role import FactorySetting, RowRole
from pyterrier_splare.settings import SplareSettings
from splare_plugins.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from splare_plugins.retrieval.explain import Explainer, Explanation
    from splare_plugins.steering import Weights


class SplareExplainer(RowRole):
    """Adds ``explanation`` to results with texts: a :class:`splare_plugins.retrieval.explain.Explanation` of each.

    Its ``matches`` are the latents that matched, the largest share first: ``term`` and ``name``, ``contribution`` and
    ``share`` of the score, both impacts, and the words of each text on which it fired; ``missing`` are those that the
    document lacks. A notebook shows it as a page, ``to_dict()`` gives JSON types. Needs two passes through the model
    for each pair and two for each query, so cut the ranking first, or behind: ``% 10`` fuses.

    Args:
        splare: the factory; its quantiser must be calibrated, whatever ``floats`` says.
        top: most latents listed of a result.
        weights: latents of all queries to switch off, turn up or put in; see :data:`splare_plugins.steering.Weights`.

    Raises:
        InputError: for a text that is not a string, ``top`` below 1, weights that cannot be, or a model that is not
            calibrated.
    """

    schematic: ClassVar = {"label": "SPLARE explainer"}
    query_top_k = FactorySetting()
    doc_top_k = FactorySetting()
    _method = "explainer"

    def __init__(self, splare: SplareSettings, *, top: int = 10, weights: Weights | None = None) -> None:
        if top < 1:
            raise InputError(f"top must be at least 1, not {top}")
        super().__init__(splare)
        self.top = top
        self.weights = weights

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Explain a frame of results."""
        field = self.splare.text_field
        pt.validate.result_frame(inp, ["query", field], context=self)
        queries = distinct(inp["query"].tolist(), inp["qid"].tolist(), column="query", kind="qid")
        texts = distinct(self._texts("document", inp), inp["docno"].tolist(), column=field, kind="docno")
        pairs = list(zip(queries.places, texts.places, strict=True))
        found: dict[tuple[int, int], Explanation] = {}
        explainers: dict[int, Explainer] = {}
        for query, text in self._each(pairs):
            if query not in explainers:
                explainers[query] = self._explainer(queries.texts[query])
            found[query, text] = explainers[query](texts.texts[text])
        docnos = inp["docno"].tolist()
        told = [replace(found[pair], docid=str(docno)) for pair, docno in zip(pairs, docnos, strict=True)]
        return inp.assign(explanation=told)

    def _each(self, pairs: list[tuple[int, int]]) -> Any:
        return pt.tqdm(dict.fromkeys(pairs), desc="SPLARE explanations", disable=not self.splare.verbose)

    def _explainer(self, query: str) -> Explainer:
        from splare_plugins.retrieval.explain import Explainer

        return Explainer(
            self.splare.model,
            query,
            top=self.top,
            query_top_k=self.splare.query_top_k,
            document_top_k=self.splare.doc_top_k,
            weights=self.weights,
        )
