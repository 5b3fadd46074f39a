"""Caches of pyterrier-caching around the encoders: what is in a cache needs no model."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from pyterrier_caching import IndexerCache, KeyValueCache, ScorerCache
from pyterrier_pisa import PisaIndex

from pyterrier_splare import Splare
from splare_plugins.model.splare import SplareModel
from tests.pyterrier_splare.test_encoders import Counting


def test_cached_queries_need_no_model(
    splare: Splare, unloadable: Splare, queries: pd.DataFrame, tmp_path: Path
) -> None:
    expected = splare.query_encoder()(queries)
    with KeyValueCache(tmp_path / "cache", splare.query_encoder(), key="query", value="query_toks") as cache:
        assert cache(queries)["query_toks"].tolist() == expected["query_toks"].tolist()
    with KeyValueCache(tmp_path / "cache", unloadable.query_encoder(), key="query", value="query_toks") as cache:
        pd.testing.assert_frame_equal(cache(queries), expected)


def test_only_new_queries_are_encoded(tiny: SplareModel, queries: pd.DataFrame, tmp_path: Path) -> None:
    counting = Counting(tiny)
    encoder = Splare(counting).query_encoder()  # type: ignore[arg-type]
    with KeyValueCache(tmp_path / "cache", encoder, key="query", value="query_toks") as cache:
        cache(queries.head(2))
        cache(queries)
    assert counting.texts == queries["query"].tolist()


def test_cached_documents(splare: Splare, unloadable: Splare, documents: pd.DataFrame, tmp_path: Path) -> None:
    with KeyValueCache(tmp_path / "cache", splare.doc_encoder(), key=["docno", "text"], value="toks") as cache:
        expected = cache(documents)
    with KeyValueCache(tmp_path / "cache", unloadable.doc_encoder(), key=["docno", "text"], value="toks") as cache:
        pd.testing.assert_frame_equal(cache(documents), expected)
    assert expected["toks"].tolist() == splare.doc_encoder()(documents)["toks"].tolist()


def test_an_indexer_cache_is_encoded_once_and_indexed_later(
    splare: Splare, documents: pd.DataFrame, queries: pd.DataFrame, tmp_path: Path
) -> None:
    with IndexerCache(tmp_path / "cache") as cache:
        (splare.doc_encoder() >> cache.indexer()).index(documents.to_dict("records"))
        assert list(cache) == splare.doc_encoder()(documents).to_dict("records")
        index = PisaIndex(str(tmp_path / "index"), stemmer="none", threads=1)
        index.toks_indexer(scale=1.0).index(cache.get_corpus_iter(fields=["docno", "toks"]))
    retriever = index.quantized(num_results=10, threads=1, toks_scale=1.0)
    found = (splare.query_encoder() >> retriever)(queries).merge(documents, on="docno")
    assert splare.scorer()(found.drop(columns="query_toks"))["score"].tolist() == found["score"].tolist()


def test_cached_scores(splare: Splare, unloadable: Splare, results: pd.DataFrame, tmp_path: Path) -> None:
    with ScorerCache(tmp_path / "cache", splare.scorer()) as cache:
        expected = cache(results)
    with ScorerCache(tmp_path / "cache", unloadable.scorer()) as cache:
        assert cache(results)["score"].tolist() == expected["score"].tolist()
    assert expected["score"].tolist() == splare.scorer()(results)["score"].tolist()
