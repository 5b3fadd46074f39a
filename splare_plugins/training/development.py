"""A judged set that fits in memory, and its measure during training."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array
from sentence_transformers.base.evaluation import BaseEvaluator

from splare_plugins.corpus import read_documents, read_qrels, read_queries
from splare_plugins.corpus.qrels import split_qrels
from splare_plugins.engines.base import Hits
from splare_plugins.impacts import keep_largest
from splare_plugins.model.splare import SplareModel
from splare_plugins.retrieval.evaluation import evaluate
from splare_plugins.st import SplareEncoder
from splare_plugins.training.config import EvaluationSettings

DEPTH = 100
_ROWS = 256


class JudgedSet:
    """Queries, documents and judgements of a BEIR folder, searched exactly.

    Raises:
        InputError: if it has no such split or no judged query.
    """

    def __init__(self, settings: EvaluationSettings) -> None:
        self.settings = settings
        qrels = read_qrels(split_qrels(Path(settings.source), settings.split))
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

    def data_hash(self) -> str:
        """Tells whether queries, documents or judgements changed."""
        content = [self.qrels, self.qids, self.queries, self.docids, self.documents]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

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
    """The measure with float weights, at the model's top-k (``dev``) and with all latents (``dev_all_latents``)."""

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
