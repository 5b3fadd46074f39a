"""Transformers in real pipelines: PISA retrieves, PyTerrier composes, compiles and evaluates; no Java."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyterrier as pt
import pyterrier_alpha as pta
import pytest
from pyterrier_pisa import PisaIndex

from pyterrier_splare import Splare
from splare_plugins.model.splare import SplareModel
from tests.pyserini_splare.conftest import python
from tests.pyterrier_splare.test_encoders import Counting
from tests.tiny import TEXTS


@pytest.fixture(scope="module")
def folder(splare: Splare, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PISA indexes of the tiny corpus: of latents, made by an indexing pipeline, and of words."""
    root = tmp_path_factory.mktemp("pisa")
    corpus = [{"docno": f"d{number}", "text": text} for number, text in enumerate(TEXTS)]
    latents = PisaIndex(str(root / "latents"), stemmer="none", threads=1)
    (splare.doc_encoder() >> latents.toks_indexer(scale=1.0)).index(corpus)
    PisaIndex(str(root / "words"), stemmer="none", text_field="text", threads=1).index(corpus)
    return root


@pytest.fixture(scope="module")
def retriever(folder: Path) -> pt.Transformer:
    """Exact dot products of ``query_toks`` with the index."""
    return PisaIndex(str(folder / "latents"), stemmer="none").quantized(num_results=100, threads=1, toks_scale=1.0)


@pytest.fixture(scope="module")
def bm25(folder: Path) -> pt.Transformer:
    return PisaIndex(str(folder / "words"), stemmer="none").bm25(num_results=100, threads=1)


@pytest.fixture
def get_text(documents: pd.DataFrame) -> pt.Transformer:
    return pt.apply.generic(lambda frame: frame.merge(documents, on="docno"), transform_outputs=None)


@pytest.fixture
def qrels() -> pd.DataFrame:
    return pd.DataFrame({"qid": ["q1", "q2", "q3"], "docno": ["d0", "d2", "d1"], "label": [1, 1, 1]})


def scores(frame: pd.DataFrame) -> dict[tuple[str, str], float]:
    return {(row.qid, row.docno): row.score for row in frame.itertuples()}


def test_the_engine_finds_what_the_scorer_scores(
    splare: Splare, retriever: pt.Transformer, queries: pd.DataFrame, results: pd.DataFrame
) -> None:
    found = scores((splare.query_encoder() >> retriever)(queries))
    expected = scores(splare.scorer()(results))
    assert found == {pair: score for pair, score in expected.items() if score}
    assert scores((splare >> retriever)(queries)) == found


def test_rank_cutoff(splare: Splare, retriever: pt.Transformer, queries: pd.DataFrame) -> None:
    search = splare.query_encoder() >> retriever
    out = (search % 2)(queries)
    assert out.groupby("qid").size().tolist() == [2, 2, 2]
    assert scores((search % 2).compile()(queries)) == scores(out)


@pytest.mark.parametrize("role", [Splare.doc_encoder, lambda splare: splare.dense().doc_encoder(), Splare.explainer])
def test_a_cutoff_moves_before_the_work(
    role: Callable[[Splare], pt.Transformer], splare: Splare, results: pd.DataFrame
) -> None:
    ranked = splare.scorer()(results)
    pipeline = role(splare) % 2
    compiled = pipeline.compile()
    assert list(compiled) == [pt.RankCutoff(2), role(splare)]
    pd.testing.assert_frame_equal(compiled(ranked), pipeline(ranked))


def test_only_what_is_left_is_encoded(tiny: SplareModel, results: pd.DataFrame) -> None:
    counting = Counting(tiny)
    pipeline = (pt.RankCutoff(4) >> Splare(counting).doc_encoder() % 1).compile()  # type: ignore[arg-type]
    pipeline(results)
    assert counting.texts == TEXTS[:1]


def test_features(splare: Splare, results: pd.DataFrame) -> None:
    out = (splare.scorer() ** splare.dense() ** splare.scorer(query_top_k=2))(results)
    for number, each in enumerate((splare.scorer(), splare.dense(), splare.scorer(query_top_k=2))):
        expected = scores(each(results))
        assert {(row.qid, row.docno): row.features[number] for row in out.itertuples()} == pytest.approx(expected)


def test_a_hybrid_with_bm25(
    splare: Splare, retriever: pt.Transformer, bm25: pt.Transformer, queries: pd.DataFrame
) -> None:
    search = splare.query_encoder() >> retriever
    out = (1000 * bm25 + search)(queries)
    one, other = scores(bm25(queries)), scores(search(queries))
    expected = {pair: 1000 * one.get(pair, 0.0) + other.get(pair, 0.0) for pair in {*one, *other}}
    assert len(one) < len(other)
    assert scores(out) == pytest.approx(expected)


def test_a_hybrid_with_the_dense_backbone(splare: Splare, results: pd.DataFrame) -> None:
    out = (splare.scorer() + 1000 * splare.dense())(results)
    one, other = scores(splare.scorer()(results)), scores(splare.dense()(results))
    assert scores(out) == pytest.approx({pair: one[pair] + 1000 * other[pair] for pair in one})


def test_reciprocal_rank_fusion(
    splare: Splare, retriever: pt.Transformer, bm25: pt.Transformer, queries: pd.DataFrame
) -> None:
    search = splare.query_encoder() >> retriever
    out = pta.RRFusion(bm25, search)(queries)
    expected: dict[tuple[str, str], float] = {}
    for frame in (bm25(queries), search(queries)):
        for row in frame.itertuples():
            expected[row.qid, row.docno] = expected.get((row.qid, row.docno), 0.0) + 1 / (row.rank + 60)
    assert scores(out) == pytest.approx(expected)


def test_a_union_is_rescored(
    splare: Splare, retriever: pt.Transformer, bm25: pt.Transformer, get_text: pt.Transformer, queries: pd.DataFrame
) -> None:
    search = splare.query_encoder() >> retriever
    out = ((bm25 | search) >> get_text >> splare.scorer())(queries)
    assert scores(out) == scores(search(queries))


def test_feedback(splare: Splare, retriever: pt.Transformer, get_text: pt.Transformer, queries: pd.DataFrame) -> None:
    search = splare.query_encoder() >> retriever
    expanding = search >> get_text >> splare.doc_encoder() >> splare.rm3(fb_docs=2, fb_terms=8)
    out = (expanding >> retriever)(queries)
    assert set(out["qid"]) == {"q1", "q2", "q3"}
    pairs = expanding(queries).merge(get_text(out[["qid", "docno"]]), on="qid")
    assert scores(splare.scorer()(pairs)) == scores(out)
    assert scores(out) != scores(search(queries))


@pytest.mark.parametrize("prefix", [{"precompute_prefix": True}, {"plan": "tree"}])
@pytest.mark.filterwarnings("ignore:precompute_prefix is deprecated")
def test_an_experiment_encodes_a_shared_prefix_once(
    tiny: SplareModel,
    retriever: pt.Transformer,
    queries: pd.DataFrame,
    qrels: pd.DataFrame,
    prefix: dict[str, object],
) -> None:
    counting = Counting(tiny)
    # Two factories of one model are equal, so that pipelines written apart share their beginning.
    one, other = (Splare(counting).query_encoder() >> retriever for _ in range(2))  # type: ignore[arg-type]
    found = pt.Experiment(
        [one, other % 2], queries, qrels, ["ndcg_cut_10", "recip_rank"], names=["all", "two"], **prefix
    )
    assert counting.texts == queries["query"].tolist()
    separate = pt.Experiment([one, other % 2], queries, qrels, ["ndcg_cut_10", "recip_rank"], names=["all", "two"])
    pd.testing.assert_frame_equal(found, separate)
    assert found["ndcg_cut_10"].between(0, 1).all()


def test_an_experiment_with_batches_and_a_baseline(
    splare: Splare, retriever: pt.Transformer, bm25: pt.Transformer, queries: pd.DataFrame, qrels: pd.DataFrame
) -> None:
    search = splare.query_encoder() >> retriever
    table = pt.Experiment(
        [bm25, search], queries, qrels, ["ndcg_cut_10"], names=["BM25", "SPLARE"], baseline=0, batch_size=1
    )
    assert table["name"].tolist() == ["BM25", "SPLARE"]
    assert "ndcg_cut_10 p-value" in table.columns


def test_compiled_pipelines_give_the_same(
    splare: Splare, retriever: pt.Transformer, get_text: pt.Transformer, queries: pd.DataFrame
) -> None:
    pipeline = splare.query_encoder() >> retriever >> get_text >> splare.explainer(top=2) % 1
    pd.testing.assert_frame_equal(pipeline.compile()(queries), pipeline(queries))


def test_columns_of_a_pipeline_are_known_beforehand(retriever: pt.Transformer, unloadable: Splare) -> None:
    pipeline = unloadable.query_encoder() >> retriever
    assert pt.inspect.transformer_inputs(pipeline)[0] == ["qid", "query"]
    assert {"docno", "score", "query_toks"} <= set(pt.inspect.transformer_outputs(pipeline, ["qid", "query"]))
    assert "SPLARE query" in pt.schematic.draw(pipeline)


def test_pandas_strings_and_objects_are_alike(splare: Splare, queries: pd.DataFrame) -> None:
    objects = splare.query_encoder()(queries.astype(object))
    assert objects["query_toks"].tolist() == splare.query_encoder()(queries)["query_toks"].tolist()


@pytest.mark.slow
def test_no_java(tiny_folder: Path) -> None:
    code = """
import sys
import pandas as pd
import pyterrier as pt
from pyterrier_splare import Splare
splare = Splare(sys.argv[1], device="cpu")
frame = pd.DataFrame({"qid": ["q"], "query": ["fox"], "docno": ["d"], "text": ["a quick fox"]})
assert (splare.query_encoder() >> splare.scorer() % 1).compile()(frame)["score"][0] > 0
assert "jnius" not in sys.modules and not pt.java.started()
"""
    done = python(code, str(tiny_folder))
    assert done.returncode == 0, done.stderr
