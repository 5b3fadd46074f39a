"""Latents know the model that made them and the text that they were made of, whatever carries them."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyterrier as pt
import pytest

from pyterrier_splare import Splare, SplareIndex
from pyterrier_splare.identity import Latents, Origin
from splare_plugins.errors import IdentityError, InputError
from tests.tiny import tiny_model

from .kinds import KINDS, make


@pytest.fixture(scope="session")
def other() -> Splare:
    """The model of another seed, with as many latents."""
    return Splare(tiny_model(seed=1))


@pytest.fixture
def corpus(documents: pd.DataFrame) -> list[dict[str, str]]:
    records: list[dict[str, str]] = documents.to_dict("records")
    return records


@pytest.fixture
def index(splare: Splare, corpus: list[dict[str, str]], tmp_path: Path) -> SplareIndex:
    made = SplareIndex.memory(tmp_path / "index", model=splare)
    (splare.doc_encoder() >> made.indexer()).index(corpus)
    return made


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda cell: pickle.loads(pickle.dumps(cell))])
def test_a_cell_is_a_dictionary_that_keeps_its_origin(copied: Callable[[Latents], Latents]) -> None:
    cell = copied(Latents({"f1": 3}, Origin("model", "0abc"), "fox"))
    assert cell == {"f1": 3}
    assert json.dumps(cell) == repr(cell).replace("'", '"')
    assert (cell.origin, cell.text) == (("model", "0abc"), "fox")


CARRIERS: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "assign": lambda frame: frame.assign(more=1),
    "merge": lambda frame: frame.merge(pd.DataFrame({"docno": frame["docno"], "more": 1}), on="docno"),
    "concat": lambda frame: pd.concat([frame.iloc[:2], frame.iloc[2:]]),
    "records": lambda frame: pd.DataFrame(frame.to_dict("records")),
    "pickle": lambda frame: pickle.loads(pickle.dumps(frame)),
}


@pytest.mark.parametrize("carrier", CARRIERS)
def test_documents_of_another_model(
    splare: Splare, other: Splare, documents: pd.DataFrame, carrier: str, tmp_path: Path
) -> None:
    encoded = CARRIERS[carrier](other.doc_encoder()(documents))
    index = SplareIndex.memory(tmp_path / "index", model=splare)
    for given in (encoded, encoded.to_dict("records"), iter(encoded.to_dict("records"))):
        with pytest.raises(IdentityError, match=r"made with tiny seed-0 .*document 'd0' come from tiny seed-1"):
            index.index(given)
    assert not index.built()


@pytest.mark.parametrize("kind", KINDS)
def test_an_indexing_pipeline_with_the_encoder_of_another_model(
    splare: Splare, other: Splare, corpus: list[dict[str, str]], kind: str, tmp_path: Path
) -> None:
    index = make(kind, tmp_path / "index", model=splare)
    with pytest.raises(IdentityError, match="tiny seed-1"):
        (other.doc_encoder() >> index.indexer()).index(corpus)
    assert not index.built()


def test_one_row_of_another_model_among_many(
    splare: Splare, other: Splare, documents: pd.DataFrame, tmp_path: Path
) -> None:
    mixed = pd.concat([splare.doc_encoder()(documents[:3]), other.doc_encoder()(documents[3:])])
    with pytest.raises(IdentityError, match="document 'd3'"):
        SplareIndex.memory(tmp_path / "index", model=splare).index(mixed)


@pytest.mark.parametrize("carrier", ["assign", "records", "pickle"])
def test_queries_of_another_model(index: SplareIndex, other: Splare, queries: pd.DataFrame, carrier: str) -> None:
    encoded = other.query_encoder()(queries)
    with pytest.raises(IdentityError, match="query 'q1' come from tiny seed-1"):
        index.retriever()(CARRIERS[carrier](encoded))


def test_results_through_a_merge_to_the_scorer_of_another_model(
    splare: Splare, other: Splare, index: SplareIndex, documents: pd.DataFrame, queries: pd.DataFrame
) -> None:
    get_text = pt.apply.generic(lambda results: results.merge(documents, on="docno"))
    search = splare.query_encoder() >> index.retriever() >> get_text
    with pytest.raises(IdentityError, match="drop the column 'query_toks'"):
        (search >> other.scorer())(queries)
    assert len((search >> splare.scorer())(queries))


def test_feedback_from_documents_of_another_model(
    splare: Splare, other: Splare, index: SplareIndex, documents: pd.DataFrame, queries: pd.DataFrame
) -> None:
    get_text = pt.apply.generic(lambda results: results.merge(documents, on="docno"))
    search = splare.query_encoder() >> index.retriever() >> get_text
    with pytest.raises(IdentityError, match=r"qid 'q1' come from tiny seed-0 .*docno 'd\d' from tiny seed-1"):
        (search >> other.doc_encoder() >> splare.rm3())(queries)
    expanded = (search >> splare.doc_encoder() >> splare.rm3())(queries)
    with pytest.raises(IdentityError, match="the scorer"):
        other.scorer()(expanded.merge(documents, how="cross"))


def test_plain_dictionaries_are_taken_as_they_are(
    splare: Splare, other: Splare, documents: pd.DataFrame, tmp_path: Path
) -> None:
    encoded = other.doc_encoder()(documents)
    plain = encoded.assign(toks=encoded["toks"].map(dict))
    assert len(SplareIndex.memory(tmp_path / "index", model=splare).index(plain)) == len(documents)


def test_a_rewritten_query_is_scored_as_it_is_now(splare: Splare, results: pd.DataFrame) -> None:
    encoded = splare.query_encoder()(results)
    rewritten = encoded.assign(query="states of light")
    expected = splare.scorer()(rewritten.drop(columns="query_toks"))["score"].tolist()
    assert expected != splare.scorer()(encoded)["score"].tolist()
    assert splare.scorer()(rewritten)["score"].tolist() == expected
    some = encoded.assign(query=encoded["query"].where(encoded["qid"] != "q1", "states of light"))
    assert (
        splare.scorer()(some)["score"].tolist() == splare.scorer()(some.drop(columns="query_toks"))["score"].tolist()
    )


def test_a_rewritten_document_is_scored_as_it_is_now(splare: Splare, results: pd.DataFrame) -> None:
    rewritten = splare.doc_encoder()(results).assign(text=results["text"] + " and a fox")
    expected = splare.scorer()(rewritten.drop(columns="toks"))["score"].tolist()
    assert splare.scorer()(rewritten)["score"].tolist() == expected


def test_a_rewritten_query_is_not_searched_as_it_was(
    splare: Splare, index: SplareIndex, queries: pd.DataFrame, documents: pd.DataFrame
) -> None:
    rewrite = pt.apply.query(lambda row: row["query"] + " states")
    search = index.retriever()
    with pytest.raises(InputError, match=r"query 'q1' is 'a quick fox states' now.*made of 'a quick fox'; encode it"):
        (splare.query_encoder() >> rewrite >> search)(queries)
    assert len((rewrite >> splare.query_encoder() >> search)(queries))
    # Feedback makes new latents of the same query.
    get_text = pt.apply.generic(lambda results: results.merge(documents, on="docno"))
    first = splare.query_encoder() >> search >> get_text
    assert len((first >> splare.doc_encoder() >> splare.rm3() >> search)(queries))
    with pytest.raises(InputError, match="was rewritten"):
        (first >> splare.doc_encoder() >> splare.rm3() >> rewrite >> search)(queries)
