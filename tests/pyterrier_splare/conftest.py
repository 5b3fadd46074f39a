"""A tiny model as transformers, and small frames."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pyterrier as pt
import pytest

from pyterrier_splare import Splare
from tests.tiny import TEXTS

os.environ["PT_TEST_TRANSFORMER_REPORTS"] = "0"
# Schematics look up links in PyTerrier's documentation, which would be downloaded.
pt.documentation._cached_objects_inv = {}


@pytest.fixture(scope="session")
def splare(tiny_folder: Path) -> Splare:
    """The tiny random model; it is loaded once."""
    return Splare(tiny_folder, device="cpu")


@pytest.fixture
def unloadable() -> Splare:
    """Fails as soon as a model is asked for."""
    return Splare("no/such/model/anywhere")


@pytest.fixture
def documents() -> pd.DataFrame:
    return pd.DataFrame({"docno": [f"d{number}" for number in range(len(TEXTS))], "text": TEXTS})


@pytest.fixture
def queries() -> pd.DataFrame:
    return pd.DataFrame({"qid": ["q1", "q2", "q3"], "query": ["a quick fox", "Suchindex", "states"]})


@pytest.fixture
def results(queries: pd.DataFrame, documents: pd.DataFrame) -> pd.DataFrame:
    """Every document for every query, as a retriever and a text loader would give them."""
    return pt.model.add_ranks(queries.merge(documents, how="cross").assign(score=1.0))
