"""An index takes every name that ``Splare`` takes, and knows the model from it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from pyterrier_splare import Splare, SplareIndex
from splare_plugins.errors import IdentityError
from splare_plugins.model import SplareModel
from splare_plugins.model.encoder import Encoder
from tests.tiny import TEXTS

from .kinds import make


@pytest.fixture(scope="module")
def checkpoint(splade_wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A real SPLADE model as sentence-transformers saves it, never calibrated."""
    from sentence_transformers import SparseEncoder

    folder = tmp_path_factory.mktemp("st") / "splade"
    SparseEncoder(str(splade_wheel), device="cpu").save_pretrained(str(folder))
    return f"st:{folder}"


@pytest.fixture(scope="module")
def calibrated(checkpoint: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same with scales."""
    model = SplareModel.from_pretrained(checkpoint, device="cpu")
    model.calibrate(TEXTS, TEXTS)
    folder = tmp_path_factory.mktemp("st") / "calibrated"
    model.save_pretrained(folder)
    return f"st:{folder}"


@pytest.fixture(params=["checkpoint", "calibrated", "splade_wheel"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


@pytest.fixture
def loaded(name: str) -> Encoder:
    return SplareModel.from_pretrained(name, device="cpu")


@pytest.mark.parametrize("kind", ["pisa", "memory"])
@pytest.mark.parametrize("named", [str, lambda name: Splare(name, device="cpu")], ids=["name", "Splare"])
def test_the_model_is_known_by_its_name(
    tmp_path: Path, name: str, loaded: Encoder, kind: str, named: Callable[[str], str | Splare]
) -> None:
    index = make(kind, tmp_path / "index", model=named(name))
    assert index.width == loaded.config.width
    index.index([{"docno": "a", "toks": {"f1": 3}}])
    assert index.config is not None
    assert index.config.index_fingerprint() == loaded.config.index_fingerprint()
    assert index.meta["fingerprint"] == loaded.config.index_fingerprint()


@pytest.mark.parametrize("kind", ["pisa", "memory"])
def test_a_pipeline_and_the_queries_of_another_model(
    tmp_path: Path, splare: Splare, calibrated: str, documents: pd.DataFrame, queries: pd.DataFrame, kind: str
) -> None:
    model = Splare(calibrated, device="cpu")
    index = make(kind, tmp_path / "index", model=model)
    (model.doc_encoder() >> index.indexer()).index(documents.to_dict("records"))
    found = (model.query_encoder() >> index.retriever())(queries)
    assert len(found)
    pairs = found.drop(columns="query_toks").merge(documents, on="docno")
    scores = model.scorer()(pairs).set_index(["qid", "docno"])["score"]
    assert found.set_index(["qid", "docno"])["score"].sort_index().equals(scores.sort_index())
    with pytest.raises(IdentityError, match=splare.config.index_fingerprint()):
        (splare.query_encoder() >> index.retriever())(queries)


def test_a_folder_is_the_model_that_the_splare_of_the_folder_is(tmp_path: Path, calibrated: str) -> None:
    index = SplareIndex.memory(tmp_path / "index", model=calibrated).index([{"docno": "a", "toks": {"f1": 3}}])
    reopened = SplareIndex.memory(tmp_path / "index", model=Splare(calibrated, device="cpu"))
    assert reopened.config == index.config
    assert reopened.searcher().num_docs == 1
