"""The five indexes, and documents and queries for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array

from pyterrier_splare import SplareIndex
from splare_plugins.impacts import to_dicts
from tests.wheels import needs_seismic

KINDS = [
    pytest.param("memory"),
    pytest.param("pisa"),
    pytest.param("seismic", marks=needs_seismic),
    pytest.param("terrier", marks=pytest.mark.java),
    pytest.param("anserini", marks=pytest.mark.java),
]
# Whatever of the options of retriever() makes a back end exact.
EXACT: dict[str, dict[str, Any]] = {"seismic": {"preset": "exhaustive"}}


def make(kind: str, path: Any, **options: Any) -> SplareIndex:
    """``SplareIndex.pisa(path)`` for ``"pisa"``."""
    index: SplareIndex = getattr(SplareIndex, kind)(path, **options)
    return index


def random_impacts(rows: int, latents: int, *, width: int = 512, seed: int = 0) -> csr_array:
    """Rows of up to ``latents`` latents; every tenth row is empty."""
    rng = np.random.default_rng(seed)
    dense = np.zeros((rows, width), dtype=np.int32)
    for number, row in enumerate(dense):
        if number % 10 != 9:
            chosen = rng.choice(width, size=rng.integers(1, latents + 1), replace=False)
            row[chosen] = rng.integers(1, 256, size=len(chosen))
    return csr_array(dense)


def documents_of(impacts: csr_array) -> pd.DataFrame:
    return pd.DataFrame({"docno": [f"d{row}" for row in range(impacts.shape[0])], "toks": to_dicts(impacts)})


def queries_of(impacts: csr_array) -> pd.DataFrame:
    return pd.DataFrame({"qid": [f"q{row}" for row in range(impacts.shape[0])], "query_toks": to_dicts(impacts)})


def assert_exact(results: pd.DataFrame, queries: csr_array, documents: csr_array, k: int) -> None:
    """Every query has its best documents, best first, with the integer dot products; ties are free."""
    products = (queries.astype(np.int64) @ documents.astype(np.int64).T).toarray()
    found = dict(list(results.groupby("qid")))
    for row, scores in enumerate(products):
        best = np.sort(scores[scores > 0])[::-1][:k].tolist()
        if not best:
            assert f"q{row}" not in found
            continue
        hits = found[f"q{row}"]
        assert hits["score"].tolist() == best
        assert hits["rank"].tolist() == list(range(len(best)))
        assert [scores[int(docno[1:])] for docno in hits["docno"]] == best
        assert hits["docno"].is_unique
