"""Settings as attributes: what ``pt.GridScan`` and ``pt.KFoldGridSearch`` set, and what they find."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pandas as pd
import pyterrier as pt
import pytest

from pyterrier_splare import LatentRM3, Splare, SplareIndex
from splare_plugins.errors import InputError
from tests.wheels import needs_seismic

from .kinds import documents_of, queries_of, random_impacts

QRELS = pd.DataFrame({"qid": ["q1", "q2", "q3"], "docno": ["d0", "d1", "d2"], "label": 1})


def scan(pipeline: pt.Transformer, settings: dict[Any, Any], queries: pd.DataFrame) -> pd.DataFrame:
    table: pd.DataFrame = pt.GridScan(pipeline, settings, queries, QRELS, ["num_ret", "recip_rank"])
    return table


def test_top_k_of_encoders(splare: Splare, documents: pd.DataFrame, queries: pd.DataFrame, tmp_path: Path) -> None:
    index = SplareIndex.memory(tmp_path / "index", model=splare).index(splare.doc_encoder()(documents))
    encoder = splare.query_encoder()
    table = scan(encoder >> index.retriever(), {encoder: {"query_top_k": [1, "model"]}}, queries)
    found = [len((splare.query_encoder(query_top_k=k) >> index.retriever())(queries)) for k in (1, "model")]
    assert table["num_ret"].tolist() == found
    assert table["num_ret"][0] < table["num_ret"][1]
    assert splare.query_top_k == "model"
    scorer = splare.scorer()
    scorer.set_parameter("doc_top_k", 3)
    assert scorer.get_parameter("doc_top_k") == 3
    for transformer in (splare.doc_encoder(), splare.scorer(), splare.explainer()):
        with pytest.raises(InputError, match="doc_top_k"):
            transformer.set_parameter("doc_top_k", 0)


def test_equal_retrievers_are_tuned_apart(tmp_path: Path) -> None:
    documents = documents_of(random_impacts(40, 20))
    index = SplareIndex.memory(tmp_path / "index").index(documents)
    first, second = index.retriever(num_results=5), index.retriever(num_results=5)
    one, other = LatentRM3(), LatentRM3()
    get_toks = pt.apply.generic(lambda results: results.merge(documents, on="docno"))
    pipeline = first >> get_toks >> one >> second >> get_toks >> other
    settings = {
        first: {"num_results": [1, 3]},
        second: {"num_results": [2, 4]},
        one: {"fb_terms": [2, 3]},
        other: {"fb_terms": [4, 5]},
    }
    assert len(scan(pipeline >> index.retriever(num_results=7), settings, queries_of(random_impacts(4, 9)))) == 16


CASES = [
    ("pisa", {"algorithm": ["wand", "maxscore"], "threads": [1, 2]}, {"algorithm": "magic", "threads": 0}),
    pytest.param(
        "seismic",
        {"preset": ["paper", "fast"], "query_cut": [None, 1, 5], "heap_factor": [0, 0.5, 1.0], "threads": [1, 2]},
        {"preset": "magic", "query_cut": 0, "heap_factor": -1, "threads": 1.5},
        marks=needs_seismic,
    ),
]


@pytest.mark.parametrize(("kind", "settings", "wrong"), CASES)
def test_settings_of_back_ends(
    kind: str, settings: dict[str, list[Any]], wrong: dict[str, Any], tmp_path: Path
) -> None:
    documents, queries = documents_of(random_impacts(40, 20)), queries_of(random_impacts(4, 9))
    index = getattr(SplareIndex, kind)(tmp_path / "index").index(documents)
    retriever = index.retriever()
    for name, values in settings.items():
        for value in values:
            retriever.set_parameter(name, value)
            fresh = index.retriever(**{each: getattr(retriever, each) for each in settings})
            pd.testing.assert_frame_equal(retriever(queries), fresh(queries))
        assert len(scan(retriever, {retriever: {name: values}}, queries)) == len(values)
    for name, value in {**wrong, "num_results": 2.5}.items():
        before = getattr(retriever, name)
        with pytest.raises(InputError):
            retriever.set_parameter(name, value)
        assert getattr(retriever, name) == before
        with pytest.raises(InputError):
            index.retriever(**{name: value})
    assert len(index._searchers) <= 4


@needs_seismic
def test_what_an_exhaustive_search_has_no_use_for(tmp_path: Path) -> None:
    index = SplareIndex.seismic(tmp_path / "index").index(documents_of(random_impacts(40, 20)))
    for option in ({"query_cut": 5}, {"heap_factor": 0.5}):
        with pytest.raises(InputError, match=f"follows every latent, so {next(iter(option))} has no effect; omit it"):
            index.retriever(preset="exhaustive", **option)(queries_of(random_impacts(4, 9)))


def test_a_pickled_encoder_has_no_model_and_a_copy_shares_it(tiny_folder: Path, queries: pd.DataFrame) -> None:
    splare = Splare(tiny_folder, device="cpu")
    expected = splare.query_encoder()(queries)
    data = pickle.dumps(splare.query_encoder())
    assert len(data) < 4096
    pd.testing.assert_frame_equal(pickle.loads(data)(queries), expected)
    assert copy.deepcopy(splare.query_encoder()).splare.model is splare.model
    # What was calibrated here is not what the folder has.
    splare.model.calibrate(["a fox"], ["a fox"])
    again = pickle.loads(pickle.dumps(splare.query_encoder()))
    assert again.splare.config == splare.config
    pd.testing.assert_frame_equal(again(queries), splare.query_encoder()(queries))
