"""Second stages: the first documents of a run, ranked anew by something that reads more than an index holds."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_array, vstack

from splare_plugins.engines import Hits
from splare_plugins.experiment.collection import Collection
from splare_plugins.experiment.config import SystemSettings
from splare_plugins.experiment.store import Encodings, document_budget
from splare_plugins.experiment.systems import Answer, Costs, cut, percentiles, query_impacts
from splare_plugins.machine import Progress
from splare_plugins.machine.files import replacing

if TYPE_CHECKING:
    from splare_plugins.model.cross_encoder import CrossEncoderModel

Candidates = Sequence[tuple[int, list[str]]]
"""The number of a query in its collection, and documents."""
Scorer = Callable[[Candidates], tuple[list[np.ndarray], np.ndarray]]
"""Scores of the documents of each query, and the milliseconds that each query took."""
_PART = 16  # queries that a killed cross-encoder may have to read again


def rerank(first: Mapping[str, Hits], scorer: Scorer, collection: Collection, depth: int) -> Answer:
    """A run with the first documents of each query in the order of other scores, and the others below them.

    Of equal scores, the first stage's order holds. The documents below have scores that fall by 1 from the lowest.

    Args:
        first: the first stage's run.
        scorer: gives the other scores.
        collection: of the run.
        depth: documents of a query that are ranked anew.
    """
    asked = [(number, query.qid) for number, query in enumerate(collection.queries) if query.qid in first]
    candidates = [(number, list(first[qid].docids[:depth])) for number, qid in asked]
    found, spent = scorer(candidates)
    run = {query.qid: Hits([], np.empty(0)) for query in collection.queries}
    for (_, qid), (_, docids), scores in zip(asked, candidates, found, strict=True):
        order = np.argsort(-scores, kind="stable")
        below = list(first[qid].docids[depth:])
        beneath = scores.min() - 1.0 - np.arange(len(below))
        run[qid] = Hits([*(docids[row] for row in order.tolist()), *below], np.concatenate([scores[order], beneath]))
    mean = sum(len(docids) for _, docids in candidates) / max(len(run), 1)
    return run, Costs(reranked=mean, **(percentiles(spent) if len(spent) else {}))


def by_cross_encoder(
    model: CrossEncoderModel, batch: int, collection: Collection, folder: Path, advance: Progress
) -> Scorer:
    """Logits of a cross-encoder; what it has read is kept in a folder and not read again."""

    def score(candidates: Candidates) -> tuple[list[np.ndarray], np.ndarray]:
        wanted = {docid for _, docids in candidates for docid in docids}
        texts = {each.docid: each.content for each in collection.documents() if each.docid in wanted}
        scores: list[np.ndarray] = []
        spent: list[np.ndarray] = []
        for start in range(0, len(candidates), _PART):
            path, part = folder / f"part-{start // _PART:06d}.npz", candidates[start : start + _PART]
            if not path.is_file():
                made, took = [], []
                for number, docids in part:
                    begin = time.perf_counter()
                    pairs = [texts[docid] for docid in docids]
                    made.append(model.scores(collection.queries[number].text, pairs, batch=batch))
                    took.append(1000 * (time.perf_counter() - begin))
                    advance(1)
                with replacing(path) as beside, beside.open("wb") as stream:
                    np.savez(stream, scores=np.concatenate(made), spent=took)
            with np.load(path) as read:
                ends = np.cumsum([len(docids) for _, docids in part])[:-1]
                scores += np.split(read["scores"], ends)
                spent.append(read["spent"])
        return scores, np.concatenate(spent) if spent else np.empty(0)

    return score


def by_vectors(_: SystemSettings, encodings: Encodings, collection: Collection) -> Scorer:
    """Products of the backbone's vectors."""
    place = {document.docid: row for row, document in enumerate(collection.documents())}
    documents, queries = (encodings.vectors(collection, side) for side in ("document", "query"))
    return _timed(lambda number, docids: documents[[place[docid] for docid in docids]] @ queries[number])


def by_impacts(system: SystemSettings, encodings: Encodings, collection: Collection) -> Scorer:
    """Products of impacts: the scores that an index of all documents would give."""
    encoded = encodings.documents(collection)
    batches = list(cut(encoded, document_budget(system, encodings.config), system.bits))
    place = {docid: row for row, docid in enumerate(docid for batch in batches for docid in batch.docids)}
    documents = csr_array(vstack([batch.impacts for batch in batches]))
    queries = query_impacts(system, encodings, collection)

    def products(number: int, docids: list[str]) -> np.ndarray:
        return (documents[[place[docid] for docid in docids]] @ queries[[number]].T).toarray()[:, 0]

    return _timed(products)


def _timed(products: Callable[[int, list[str]], np.ndarray]) -> Scorer:
    def score(candidates: Candidates) -> tuple[list[np.ndarray], np.ndarray]:
        scores, calls = [], [time.perf_counter()]
        for number, docids in candidates:
            scores.append(products(number, docids).astype(np.float64))
            calls.append(time.perf_counter())
        return scores, np.diff(calls) * 1000

    return score
