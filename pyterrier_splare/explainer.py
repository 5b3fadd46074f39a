"""Results to the latents that matched."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar

import pyterrier as pt

from pyterrier_splare.columns import distinct
from pyterrier_splare.role import FactorySetting, RowRole
from pyterrier_splare.settings import SplareSettings
from splare_plugins.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


class SplareExplainer(RowRole):
    """Adds ``explanation`` to results with texts: a list of the latents that matched, the largest share first.

    Each is a dictionary with the fields of ``splare_plugins.retrieval.explain.LatentMatch``: the latent's ``term`` and
    ``name``, its ``contribution`` and ``share`` of the score, both impacts, and the word of each text on which it
    fired. Needs four passes through the model for each pair, so cut the ranking first, or behind: ``% 10`` fuses.

    Args:
        splare: the factory; its quantiser must be calibrated, whatever ``floats`` says.
        top: most latents listed of a result.

    Raises:
        InputError: for a text that is not a string, ``top`` below 1, or a model that is not calibrated.
    """

    schematic: ClassVar = {"label": "SPLARE explainer"}
    query_top_k = FactorySetting()
    doc_top_k = FactorySetting()
    _method = "explainer"

    def __init__(self, splare: SplareSettings, *, top: int = 10) -> None:
        if top < 1:
            raise InputError(f"top must be at least 1, not {top}")
        super().__init__(splare)
        self.top = top

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Explain a frame of results."""
        field = self.splare.text_field
        pt.validate.result_frame(inp, ["query", field], context=self)
        queries = distinct(inp["query"].tolist(), inp["qid"].tolist(), column="query", kind="qid")
        texts = distinct(self._texts("document", inp), inp["docno"].tolist(), column=field, kind="docno")
        pairs = list(zip(queries.places, texts.places, strict=True))
        found = {pair: self._explain(queries.texts[pair[0]], texts.texts[pair[1]]) for pair in self._each(pairs)}
        return inp.assign(explanation=[found[pair] for pair in pairs])

    def _each(self, pairs: list[tuple[int, int]]) -> Any:
        return pt.tqdm(dict.fromkeys(pairs), desc="SPLARE explanations", disable=not self.splare.verbose)

    def _explain(self, query: str, document: str) -> list[dict[str, Any]]:
        from splare_plugins.retrieval.explain import explain

        explanation = explain(
            self.splare.model,
            query,
            document,
            top=self.top,
            query_top_k=self.splare.query_top_k,
            document_top_k=self.splare.doc_top_k,
        )
        return [asdict(match) for match in explanation.matches]
