"""The exact indexes are the same to the last digit of an evaluation, on text with real judgements."""

from __future__ import annotations

from pathlib import Path

import pytest

from splare_plugins.corpus import read_documents, read_qrels, read_queries
from splare_plugins.engines.base import Hits
from splare_plugins.retrieval.evaluation import evaluate
from tests.contract.conftest import DATA, text_impacts

from .kinds import EXACT, KINDS, make, queries_of

FOLDER = DATA / "xquad" / "en"
QUERIES = 200
MEASURES = ["nDCG@10", "R@100", "RR@10"]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """The figures of the index in memory."""
    return figures("memory", tmp_path_factory.mktemp("memory"))


@pytest.mark.parametrize("kind", KINDS)
def test_figures(kind: str, tmp_path: Path, expected: dict[str, float]) -> None:
    assert 0.1 < expected["nDCG@10"] < 1
    assert figures(kind, tmp_path) == expected


def figures(kind: str, folder: Path) -> dict[str, float]:
    """What questions find, with words as latents."""
    docids = [document.docid for document in read_documents(FOLDER)]
    index = make(kind, folder / "index")
    with index.engine().writer(str(index.path), None) as writer:
        writer.add(docids, text_impacts(FOLDER / "corpus.jsonl.gz", len(docids)))
    queries = queries_of(text_impacts(FOLDER / "queries.jsonl.gz", QUERIES))
    queries["qid"] = [query.qid for query in read_queries(FOLDER)[:QUERIES]]
    results = index.retriever(**EXACT.get(kind, {}))(queries)
    hits = {str(qid): Hits(each["docno"].tolist(), each["score"].to_numpy()) for qid, each in results.groupby("qid")}
    qrels = {qid: judged for qid, judged in read_qrels(FOLDER).items() if qid in set(queries["qid"])}
    return evaluate(qrels, hits, MEASURES)
