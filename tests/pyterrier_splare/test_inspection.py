"""What PyTerrier asks of transformers before anything is encoded; the model cannot be loaded here."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pyterrier as pt
import pytest

from pyterrier_splare import LatentRM3, Splare
from splare_plugins.errors import InputError
from tests.pyserini_splare.conftest import python

MISSING = "no/such/model/anywhere"

TestSplare = pt.testing.transformer_test_class(lambda: Splare(MISSING))
TestQueryEncoder = pt.testing.transformer_test_class(lambda: Splare(MISSING).query_encoder())
TestDocEncoder = pt.testing.transformer_test_class(lambda: Splare(MISSING).doc_encoder())
TestScorer = pt.testing.transformer_test_class(lambda: Splare(MISSING).scorer())
TestExplainer = pt.testing.transformer_test_class(lambda: Splare(MISSING).explainer())
TestDense = pt.testing.transformer_test_class(lambda: Splare(MISSING).dense())
TestDenseQueryEncoder = pt.testing.transformer_test_class(lambda: Splare(MISSING).dense().query_encoder())
TestDenseDocEncoder = pt.testing.transformer_test_class(lambda: Splare(MISSING).dense().doc_encoder())
TestRM3 = pt.testing.transformer_test_class(LatentRM3)

Make = Callable[[Splare], pt.Transformer]
Q, D, R = ["qid", "query"], ["docno", "text"], ["qid", "query", "docno", "text"]
ROLES: dict[str, tuple[Make, list[str], list[str]]] = {
    "query": (lambda splare: splare, Q, ["query_toks"]),
    "document": (lambda splare: splare, D, ["toks"]),
    "result": (lambda splare: splare, R, ["score", "rank"]),
    "query_encoder": (Splare.query_encoder, Q, ["query_toks"]),
    "query_encoder of results": (Splare.query_encoder, R, ["query_toks"]),
    "doc_encoder": (Splare.doc_encoder, D, ["toks"]),
    "doc_encoder of results": (Splare.doc_encoder, R, ["toks"]),
    "scorer": (Splare.scorer, R, ["score", "rank"]),
    "scorer of tokens": (Splare.scorer, ["qid", "docno", "query_toks", "toks"], ["score", "rank"]),
    "explainer": (Splare.explainer, R, ["explanation"]),
    "dense": (Splare.dense, R, ["score", "rank"]),
    "dense queries": (lambda splare: splare.dense().query_encoder(), Q, ["query_vec"]),
    "dense documents": (lambda splare: splare.dense().doc_encoder(), D, ["doc_vec"]),
}


@pytest.mark.parametrize("role", ROLES)
def test_empty_frames_have_the_output_columns_and_load_nothing(role: str, unloadable: Splare) -> None:
    make, columns, added = ROLES[role]
    out = make(unloadable)(pd.DataFrame(columns=columns))
    assert list(out.columns) == columns + added
    assert len(out) == 0
    assert pt.inspect.transformer_outputs(make(unloadable), columns) == columns + added


@pytest.mark.parametrize("role", ROLES)
def test_inputs_are_known_without_a_model(role: str, unloadable: Splare) -> None:
    make, columns, _ = ROLES[role]
    assert any(set(mode) <= set(columns) for mode in pt.inspect.transformer_inputs(make(unloadable)))


@pytest.mark.parametrize("role", ROLES)
def test_a_missing_column_is_pyterriers_own_error(role: str, unloadable: Splare) -> None:
    make, columns, _ = ROLES[role]
    with pytest.raises(pt.validate.InputValidationError, match="Splare"):
        make(unloadable)(pd.DataFrame({columns[0]: ["1"]}))


@pytest.mark.parametrize("make", [lambda splare: splare, Splare.query_encoder, Splare.doc_encoder])
def test_a_missing_column_of_a_stream_is_pyterriers_own_error(make: Make, unloadable: Splare) -> None:
    with pytest.raises(pt.validate.InputValidationError):
        make(unloadable)(iter([{"other": "1"}]))


@pytest.mark.parametrize("make", [lambda splare: splare, Splare.query_encoder, Splare.doc_encoder])
def test_an_empty_stream_loads_nothing(make: Make, unloadable: Splare) -> None:
    assert make(unloadable)([]) == []


def test_the_model_that_is_missing_is_named_at_the_first_text(unloadable: Splare, queries: pd.DataFrame) -> None:
    with pytest.raises(InputError, match=MISSING):
        unloadable(queries)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Splare(), Splare()),
        (Splare(), Splare(verbose=True)),
        (Splare("a").query_encoder(), Splare("a").query_encoder()),
        (Splare("a").doc_encoder(doc_top_k=5), Splare("a", doc_top_k=5).doc_encoder()),
        (Splare("a").explainer(top=3), Splare("a").explainer(top=3)),
        (Splare("a").dense().query_encoder(), Splare("a").dense().query_encoder()),
    ],
)
def test_equal_transformers(one: pt.Transformer, other: pt.Transformer) -> None:
    assert one == other
    assert hash(one) == hash(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Splare("a"), Splare("b")),
        (Splare("a"), Splare("a", floats=True)),
        (Splare("a").query_encoder(), Splare("b").query_encoder()),
        (Splare("a").query_encoder(), Splare("a").doc_encoder()),
        (Splare("a").query_encoder(), Splare("a").query_encoder(query_top_k=3)),
        (Splare("a").query_encoder(), Splare("a").dense().query_encoder()),
        (Splare("a").explainer(top=3), Splare("a").explainer(top=4)),
        (Splare("a").rm3(fb_docs=3), Splare("a").rm3(fb_docs=4)),
        (Splare("a").query_encoder(), "a"),
    ],
)
def test_different_transformers(one: pt.Transformer, other: object) -> None:
    assert one != other
    assert repr(one) != repr(other)


def test_settings_of_one_transformer_share_the_loaded_model(splare: Splare) -> None:
    assert splare.query_encoder(query_top_k=3).splare.model is splare.model
    assert splare.apply_attributes(batch_size=7).model is splare.model
    assert splare.apply_attributes(text_field="body").text_field == "body"
    assert splare.query_encoder().splare is splare


def test_another_model_is_not_shared(splare: Splare) -> None:
    assert splare.apply_attributes(model="other")._lazy is not splare._lazy


def test_representations_say_what_is_not_the_default() -> None:
    assert repr(Splare(query_top_k=8).query_encoder(batch_size=4)) == (
        "Splare('splare-e5-small', query_top_k=8, batch_size=4).query_encoder()"
    )


def test_the_factory_is_no_stage_inside_its_transformers() -> None:
    for each in (Splare(), Splare().query_encoder(), Splare().scorer(), Splare().dense()):
        assert pt.inspect.subtransformers(each) == {}


def test_the_batch_size_is_what_indexing_pipelines_read() -> None:
    assert Splare(batch_size=333).doc_encoder().batch_size == 333


@pytest.mark.slow
def test_importing_loads_neither_torch_nor_java_nor_pyterrier() -> None:
    code = """
import sys
import pyterrier_splare
assert not {"torch", "jnius", "pyterrier", "pandas"} & set(sys.modules)
from pyterrier_splare import Splare, LatentRM3, SplareScorer, SplareExplainer, DenseBackbone, EncodedDocuments
splare = Splare()
(splare.query_encoder() >> splare.scorer()).compile()
assert not {"torch", "jnius", "transformers"} & set(sys.modules)
"""
    done = python(code)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_without_pyterrier_the_message_names_the_extra() -> None:
    code = """
import sys
sys.modules["pyterrier"] = None
import pyterrier_splare
try:
    pyterrier_splare.Splare
except Exception as error:
    print(type(error).__name__, error)
"""
    out = python(code).stdout
    assert out.startswith("MissingPartError Splare needs PyTerrier")
    assert "pip install 'splare-plugins[pyterrier]'" in out


def test_every_exported_name_exists() -> None:
    import pyterrier_splare

    for name in pyterrier_splare.__all__:
        assert getattr(pyterrier_splare, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = pyterrier_splare.Nothing
