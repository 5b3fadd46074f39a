"""The backbone as a dense encoder, beside transformers alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pyterrier as pt
import pytest
import torch

from pyterrier_splare import Splare
from splare_plugins.errors import InputError
from splare_plugins.model.splare import SplareModel
from tests.tiny import TEXTS


def reference(model: SplareModel, texts: list[str]) -> np.ndarray:
    """Mean over the attention mask, one text at a time, scaled to length 1."""
    tokenizer, backbone = model.backbone.tokenizer, model.backbone.model
    rows = []
    for text in texts:
        with torch.inference_mode():
            states = backbone(**tokenizer(text, return_tensors="pt", return_token_type_ids=False)).last_hidden_state[0]
        mean = states.mean(0).numpy()
        rows.append(mean / np.linalg.norm(mean))
    return np.stack(rows)


def test_documents(splare: Splare, documents: pd.DataFrame) -> None:
    out = splare.dense(batch_size=2).doc_encoder()(documents)
    expected = reference(splare.model, ["d: " + text for text in TEXTS])
    np.testing.assert_allclose(np.stack(out["doc_vec"].tolist()), expected, atol=1e-5)
    assert out["doc_vec"][0].dtype == np.float32


def test_queries(splare: Splare, queries: pd.DataFrame) -> None:
    out = splare.dense(tokens_per_batch=1).query_encoder()(queries)
    expected = reference(splare.model, ["q: " + text for text in queries["query"]])
    np.testing.assert_allclose(np.stack(out["query_vec"].tolist()), expected, atol=1e-5)


def test_scores_are_cosines(splare: Splare, results: pd.DataFrame) -> None:
    dense = splare.dense()
    out = dense(results)
    encoded = (dense.query_encoder() >> dense.doc_encoder())(results)
    expected = [one @ other for one, other in zip(encoded["query_vec"], encoded["doc_vec"], strict=True)]
    np.testing.assert_allclose(out["score"], expected, atol=1e-5)
    assert out["score"].between(-1.0001, 1.0001).all()
    assert sorted(out[out["qid"] == "q1"]["rank"]) == list(range(len(TEXTS)))
    assert dense.scorer() is dense


def test_one_model_for_sparse_and_dense(splare: Splare) -> None:
    assert splare.dense().splare.model is splare.model


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layer": 1}, "the backbone of tiny is not a dense encoder"),
        ({"head_kind": "mlm"}, "the backbone of tiny is not a dense encoder"),
        ({"adapter": "adapter"}, "the backbone of tiny has an adapter; load the model from its folder"),
    ],
)
def test_backbones_that_are_no_dense_encoder(
    tiny: SplareModel, queries: pd.DataFrame, changes: dict[str, object], message: str
) -> None:
    config = dataclasses.replace(tiny.config, **changes)  # type: ignore[arg-type]
    splare = Splare(SplareModel(config, tiny.backbone, tiny.head))
    with pytest.raises(InputError, match=message):
        splare.dense().query_encoder()(queries)


@pytest.mark.model
def test_the_small_model_is_a_dense_encoder_that_understands(builtin: SplareModel) -> None:
    texts = ["Plants turn sunlight into sugar.", "The stock market fell on Monday.", "Leaves make food from light."]
    frame = pd.DataFrame({"docno": ["d1", "d2", "d3"], "text": texts}).assign(qid="q", query="what is photosynthesis")
    out = pt.model.add_ranks(Splare(builtin).dense()(frame)).sort_values("rank")
    assert out["docno"].tolist()[-1] == "d2"
