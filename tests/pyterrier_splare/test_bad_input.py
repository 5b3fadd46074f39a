"""What users get wrong: one sentence that names the thing and the way out, before hours of work."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyterrier as pt
import pytest

from pyterrier_splare import Splare, SplareIndex
from splare_plugins.errors import IdentityError, InputError
from splare_plugins.model.splare import SplareModel
from tests.tiny import tiny_model

Make = Callable[[Splare], pt.Transformer]


def refused(message: str, call: Callable[[], object]) -> None:
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA, 7])
@pytest.mark.parametrize(
    "make", [lambda splare: splare, Splare.query_encoder, lambda splare: splare.dense().query_encoder()]
)
def test_a_query_that_is_no_text(make: Make, missing: object, unloadable: Splare) -> None:
    frame = pd.DataFrame({"qid": ["q1", "q2"], "query": ["fox", missing]}, dtype=object)
    refused(r"qid 'q2' has .* in the column 'query', which is not a text; fill it", lambda: make(unloadable)(frame))


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA, 7])
@pytest.mark.parametrize(
    "make", [lambda splare: splare, Splare.doc_encoder, lambda splare: splare.dense().doc_encoder()]
)
def test_a_document_that_is_no_text(make: Make, missing: object, unloadable: Splare) -> None:
    frame = pd.DataFrame({"docno": ["d1", "d2"], "text": ["fox", missing]}, dtype=object)
    refused(
        r"docno 'd2' has .* in the column 'text'.*frame\.fillna\(\{'text': ''\}\)", lambda: make(unloadable)(frame)
    )


def test_nan_in_a_string_column_after_a_merge(unloadable: Splare, documents: pd.DataFrame) -> None:
    ranking = pd.DataFrame({"qid": ["q", "q"], "query": ["fox", "fox"], "docno": ["d0", "gone"]})
    frame = ranking.merge(documents, on="docno", how="left")
    refused("docno 'gone' has nan in the column 'text'", lambda: unloadable.doc_encoder()(frame))


@pytest.mark.parametrize("make", [Splare.scorer, Splare.explainer, Splare.dense])
@pytest.mark.parametrize(("column", "message"), [("query", "qid 'q1' has nan"), ("text", "docno 'd0' has nan")])
def test_results_without_texts(make: Make, column: str, message: str, splare: Splare, results: pd.DataFrame) -> None:
    frame = results.astype({column: object})
    frame.loc[frame[{"query": "qid", "text": "docno"}[column]] == message.split("'")[1], column] = float("nan")
    refused(message, lambda: make(splare)(frame))


def test_a_stream_of_documents_of_which_one_lacks_its_text(splare: Splare) -> None:
    stream = iter([{"docno": "d1", "text": "fox"}, {"docno": "d2"}])
    refused("docno 'd2' has None in the column 'text'", lambda: list(splare.doc_encoder().transform_iter(stream)))


@pytest.mark.parametrize("docno", [5, None, 1.5, b"d1"])
def test_a_docno_that_is_no_string(docno: object, unloadable: Splare) -> None:
    frame = pd.DataFrame({"docno": [docno], "text": ["fox"]}, dtype=object)
    message = r"the docno .* not a string; convert it first, for example with frame\.astype\(\{'docno': str\}\)"
    for role in (unloadable.doc_encoder(), unloadable.dense().doc_encoder()):
        refused(message, lambda role=role: role(frame))  # type: ignore[misc]
    refused(message, lambda: unloadable.doc_encoder()([{"docno": docno, "text": "fox"}]))


def test_an_empty_docno(unloadable: Splare) -> None:
    frame = pd.DataFrame({"docno": [""], "text": ["fox"]})
    refused("a document has an empty docno", lambda: unloadable.doc_encoder()(frame))


def test_a_qid_twice(unloadable: Splare) -> None:
    frame = pd.DataFrame({"qid": ["q1", "q2", "q1"], "query": ["fox", "dog", "cat"]})
    message = "the qid 'q1' occurs twice among the queries; give every query a qid of its own"
    for role in (unloadable, unloadable.query_encoder(), unloadable.dense().query_encoder()):
        refused(message, lambda role=role: role(frame))  # type: ignore[misc]


def test_a_qid_twice_in_a_stream(splare: Splare) -> None:
    stream = [{"qid": str(number % 4), "query": f"query {number}"} for number in range(5)]
    refused("the qid '0' occurs twice", lambda: splare.query_encoder(batch_size=2)(stream))


@pytest.mark.parametrize("column", ["query_toks", "toks"])
@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ({"##ing": 3}, "'##ing' is not a pseudo-term of a latent; those look like f12345"),
        ({"f512": 3}, "row 0: f512 is beyond the last latent f511"),
        ({"f1": float("nan")}, "the impact of f1 must be a finite number > 0, not nan"),
        ({"f1": -2}, "the impact of f1 must be a finite number > 0, not -2"),
        ("f1 f2", "has 'f1 f2' in the column '.*toks', which is not a dictionary of latents; drop the column"),
    ],
)
def test_tokens_that_are_not_ours(
    column: str, tokens: object, message: str, splare: Splare, results: pd.DataFrame
) -> None:
    refused(message, lambda: splare.scorer()(results.assign(**{column: [tokens] * len(results)})))


def test_tokens_of_another_model(splare: Splare, results: pd.DataFrame) -> None:
    other = Splare(tiny_model(seed=1))
    encoded = other.query_encoder()(results)
    with pytest.raises(IdentityError, match=r"tiny seed-0 .*come from tiny seed-1 \(.*drop the column 'query_toks'"):
        splare.scorer()(encoded)
    expected = splare.scorer()(results)["score"].tolist()
    assert splare.scorer()(encoded.drop(columns="query_toks"))["score"].tolist() == expected
    assert (splare.query_encoder() >> splare.scorer())(encoded)["score"].tolist() == expected


def test_missing_tokens_without_a_text_to_encode(splare: Splare) -> None:
    frame = pd.DataFrame({"qid": ["q"] * 2, "query": ["fox"] * 2, "docno": ["d1", "d2"], "toks": [{"f1": 3}, None]})
    refused("docno 'd2' has neither toks nor a column 'text' to encode", lambda: splare.scorer()(frame))


@pytest.mark.parametrize("make", [lambda splare: splare, Splare.query_encoder, Splare.scorer, Splare.explainer])
def test_integers_of_a_model_that_is_not_calibrated(make: Make, tiny: SplareModel, results: pd.DataFrame) -> None:
    sides = {side: dataclasses.replace(getattr(tiny.config, side), scale=None) for side in ("query", "document")}
    splare = Splare(SplareModel(dataclasses.replace(tiny.config, **sides), tiny.backbone, tiny.head))
    refused("tiny has no quantiser scales; call model.calibrate", lambda: make(splare)(results))
    with pytest.raises(InputError, match=r"or ask for float weights with Splare\(\.\.\., floats=True\)"):
        splare.query_encoder()(results)
    assert splare.query_encoder(floats=True)(results)["query_toks"][0]


def test_a_loaded_model_and_where_to_load_it(tiny: SplareModel) -> None:
    loading = [
        {"device": "cpu"},
        {"dtype": "bfloat16"},
        {"revision": "main"},
        {"runtime": "torch"},
        {"quantization": None},
    ]
    for options in loading:
        refused(
            "is loaded already; choose its revision, device, dtype, runtime, quantization, queries when",
            lambda options=options: Splare(tiny, **options),
        )  # type: ignore[misc]


def test_settings_that_are_none(splare: Splare, queries: pd.DataFrame) -> None:
    refused("batch_size must be at least 1, not 0", lambda: Splare(batch_size=0))
    for wrong in (0, "10", 2.5, True):
        refused(f"query_top_k must be an integer from 1.*not {wrong!r}", lambda wrong=wrong: Splare(query_top_k=wrong))  # type: ignore[misc]
        refused(f"doc_top_k must be .*not {wrong!r}", lambda wrong=wrong: splare.scorer(doc_top_k=wrong))  # type: ignore[misc]
    with pytest.raises(TypeError, match="top_k"):
        splare.query_encoder(top_k=3)  # type: ignore[call-arg]


def test_a_device_that_is_not_there(tiny_folder: object, queries: pd.DataFrame) -> None:
    refused("the device 'quantum' cannot be used here", lambda: Splare(tiny_folder, device="quantum")(queries))  # type: ignore[arg-type]


def test_frames_and_names_where_records_are_wanted(splare: Splare, documents: pd.DataFrame, tmp_path: Path) -> None:
    index = SplareIndex.memory(tmp_path / "index")
    way_out = r"is not a record; give a list of dictionaries, which is frame\.to_dict\('records'\)"
    refused(way_out, lambda: (splare.doc_encoder() >> index.indexer()).index(documents))
    refused(way_out, lambda: (splare.doc_encoder() >> index.indexer()).index(["d1", "d2"]))
    refused(way_out, lambda: index.index(["d1", "d2"]))
    refused(way_out, lambda: list(splare.query_encoder().transform_iter(["what is a fox"])))
    (splare.doc_encoder() >> index.indexer()).index(documents.to_dict("records"))
    assert len(index) == len(documents)


def test_a_lone_surrogate_is_named_by_its_row(unloadable: Splare) -> None:
    documents = pd.DataFrame({"docno": ["d0", "d7"], "text": ["fine", "Panthers \ud800 points"]}, dtype=object)
    queries = documents.set_axis(["qid", "query"], axis=1)
    refused("docno 'd7' has a lone surrogate in the column 'text', at character 10", lambda: unloadable(documents))
    refused("qid 'd7' has a lone surrogate in the column 'query'", lambda: unloadable(queries))


def test_a_missing_column_is_named_with_its_transformer(tmp_path: Path, queries: pd.DataFrame) -> None:
    index = SplareIndex.memory(tmp_path / "index").index([{"docno": "a", "toks": {"f1": 5}}])
    with pytest.raises(pt.validate.InputValidationError, match=r"retriever\(.*query_toks"):
        index.retriever()(queries)
    for given in (pd.DataFrame({"docno": ["a"]}), [{"docno": "a"}]):
        with pytest.raises(pt.validate.InputValidationError, match=r"indexer\(.*toks"):
            index.indexer().index(given)


@pytest.mark.parametrize("tokens", [{"cat": 5}, {"f1": 5.5}, {"f1": 0}, {"f262144": 5}])
def test_the_number_of_latents_is_explained_where_it_matters(tokens: dict[str, float], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="document 'a'") as caught:
        SplareIndex.memory(tmp_path / "index").index([{"docno": "a", "toks": tokens}])
    assert ("to allow more than 262144 latents" in str(caught.value)) == ("f262144" in tokens)
