"""After training: quantiser scales, the trade-off between latents kept and quality, and the card with both."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from splare_plugins.errors import InputError
from splare_plugins.impacts import keep_largest
from splare_plugins.machine import Progress
from splare_plugins.model.splare import SplareModel
from splare_plugins.training.config import EvaluationSettings
from splare_plugins.training.development import JudgedSet

Budget = tuple[int | None, int | None]
BUDGETS: tuple[Budget, ...] = ((None, None), (40, 400), (20, 200), (10, 100), (40, 100))
"""Latents kept of a query and of a document; the paper's, and documents cut alone."""


class Row(NamedTuple):
    """One line of the trade-off."""

    dataset: str
    split: str
    measure: str
    query_top_k: int | None
    document_top_k: int | None
    value: float
    query_latents: float
    """Mean number of impacts of a query."""
    document_latents: float
    """Likewise of a document: postings in an index."""


def finish(
    folder: Path,
    sets: Sequence[EvaluationSettings],
    *,
    budgets: Sequence[Budget] = BUDGETS,
    sample: int = 1000,
    percentile: float = 99.9,
    device: str = "auto",
    licence: str | None = None,
    on_progress: Progress | None = None,
) -> list[Row]:
    """Calibrate a model, measure it with integer impacts as an index would hold them, and write its card.

    Args:
        folder: of the model; its config, figures and card are written.
        sets: judged sets; the first one's texts set the scales.
        budgets: latents kept of queries and documents.
        sample: texts a side for the scales, the first ones.
        percentile: of the weights, mapped to the largest impact.
        device: where to encode.
        licence: of the model, for its card.
        on_progress: called with the number of texts just encoded.

    Returns:
        One row a set and budget.

    Raises:
        InputError: for a set or model that cannot be used.
    """
    if not sets or not budgets:
        raise InputError("finishing a model needs a judged set, such as a BEIR folder, and a budget")
    judged = [JudgedSet(settings) for settings in sets]
    model = SplareModel.load(folder, device=device)
    model.calibrate(judged[0].queries[:sample], judged[0].documents[:sample], percentile)
    rows = []
    for each in judged:
        queries = model.encode_queries(each.queries, top_k=None, on_progress=on_progress)
        documents = model.encode_documents(each.documents, top_k=None, on_progress=on_progress)
        for query_top_k, document_top_k in budgets:
            asked = model.quantizer.queries(keep_largest(queries, query_top_k)).impacts
            held = model.quantizer.documents(keep_largest(documents, document_top_k)).impacts
            rows.append(
                Row(
                    Path(each.settings.source).name,
                    each.settings.split,
                    each.settings.measure,
                    query_top_k,
                    document_top_k,
                    each.measure(asked, held),
                    asked.nnz / max(asked.shape[0], 1),
                    held.nnz / max(held.shape[0], 1),
                )
            )
    model.save_pretrained(folder, figures=[_figure(row) for row in rows], licence=licence)
    return rows


def _figure(row: Row) -> dict[str, str | float]:
    budget = "/".join("all" if limit is None else str(limit) for limit in (row.query_top_k, row.document_top_k))
    metric = f"{row.measure}, top-k {budget} ({row.query_latents:.0f}/{row.document_latents:.0f} latents)"
    return {"dataset": row.dataset, "split": row.split, "metric": metric, "value": round(row.value, 4)}
