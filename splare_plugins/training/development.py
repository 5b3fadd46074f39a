"""A judged set that fits in memory, and its measure during training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.sparse import csr_array
from sentence_transformers.base.evaluation import BaseEvaluator

from splare_plugins.corpus import read_documents, read_qrels, read_queries
from splare_plugins.engines.base import Hits
from splare_plugins.errors import InputError
from splare_plugins.model.splare import SplareModel
from splare_plugins.retrieval.evaluation import evaluate
from splare_plugins.st import SplareEncoder
from splare_plugins.training.config import EvaluationSettings

DEPTH = 100
_ROWS = 256


class JudgedSet:
    """Queries, documents and judgements of a BEIR folder, searched exactly.

    Args:
        settings: where the set lies and how much of it is used.

    Raises:
        InputError: if it has no such split or no judged query.
    """

    def __init__(self, settings: EvaluationSettings) -> None:
        self.settings = settings
        paths = [Path(settings.source) / "qrels" / f"{settings.split}.tsv{end}" for end in ("", ".gz")]
        judged = next((path for path in paths if path.is_file()), None)
        if judged is None:
            raise InputError(f"{settings.source} has no {settings.split} split: there is no {paths[0]}")
        qrels = read_qrels(judged)
        self.qrels = dict(list(qrels.items())[: settings.queries])
        asked = [query for query in read_queries(settings.source) if query.qid in self.qrels]
        self.qids, self.queries = [query.qid for query in asked], [query.text for query in asked]
        wanted = {docid for each in self.qrels.values() for docid in each}
        room = None if settings.documents is None else max(settings.documents - len(wanted), 0)
        self.docids: list[str] = []
        self.documents: list[str] = []
        for document in read_documents(settings.source):
            if document.docid not in wanted and room is not None:
                if not room:
                    continue
                room -= 1
            self.docids.append(document.docid)
            self.documents.append(document.content)

    def measure(self, queries: csr_array, documents: csr_array) -> float:
        """The measure of the ranking by the dot product of rows, floats or impacts."""
        run = {}
        columns = documents.T.tocsc()
        for start in range(0, len(self.qids), _ROWS):
            scores = (queries[start : start + _ROWS] @ columns).toarray()
            for qid, row in zip(self.qids[start : start + _ROWS], scores, strict=True):
                best = np.argsort(-row.astype(np.float64), kind="stable")[:DEPTH]
                best = best[row[best] > 0]
                run[qid] = Hits([self.docids[number] for number in best], row[best].astype(np.float64))
        return evaluate(self.qrels, run, [self.settings.measure])[self.settings.measure]


class Development(BaseEvaluator):
    """The measure with float weights, at the model's top-k (``dev``) and with all latents (``dev_all_latents``).

    Args:
        settings: names the set.
    """

    def __init__(self, settings: EvaluationSettings) -> None:
        super().__init__()
        self.judged = JudgedSet(settings)
        self.primary_metric = "dev"

    def __call__(
        self, model: SplareEncoder, output_path: str | None = None, epoch: int = -1, steps: int = -1
    ) -> dict[str, float]:
        """The figures of the model as it is."""
        plain = SplareModel(model.splare_config, model[0].backbone, model[1].head)
        queries = plain.encode_queries(self.judged.queries, top_k=None)
        documents = plain.encode_documents(self.judged.documents, top_k=None)
        limits = plain.config.query.top_k, plain.config.document.top_k
        return {
            "dev": self.judged.measure(keep_largest(queries, limits[0]), keep_largest(documents, limits[1])),
            "dev_all_latents": self.judged.measure(queries, documents),
        }


def keep_largest(weights: csr_array, top_k: int | None) -> csr_array:
    """The ``top_k`` largest weights of each row; all of them for ``None``."""
    if top_k is None:
        return weights
    kept = np.zeros(weights.nnz, dtype=bool)
    for start, end in zip(weights.indptr[:-1], weights.indptr[1:], strict=True):
        order = np.argsort(-weights.data[start:end], kind="stable")
        kept[start + order[:top_k]] = True
    smaller = weights.copy()
    smaller.data = np.where(kept, weights.data, 0)
    smaller.eliminate_zeros()
    return smaller
