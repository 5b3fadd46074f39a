"""Standardised latents: the formula, what they replace, and what cannot be standardised."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from splare_plugins import SplareModel
from splare_plugins.errors import InputError
from splare_plugins.heads import SparseAutoencoder
from splare_plugins.model.standardise import standardised
from tests.tiny import TEXTS, tiny_model

QUERIES, DOCUMENTS = TEXTS[:3], TEXTS[1:]


def pre_activations(model: SplareModel, text: str, prompt: str) -> np.ndarray:
    """Largest ``z`` of a text's own tokens, by a loop."""
    tokens = model.backbone.tokenize([text], prompt, model.config.document.max_length)
    with torch.inference_mode():
        states, _ = model.backbone(tokens)
        values = states @ model.head.W.T + model.head.b
    return values[torch.from_numpy(tokens[0].keep)].amax(0).numpy()


@pytest.mark.parametrize("k", [None, 8])
def test_weights_are_deviations_from_the_mean(k: int | None) -> None:
    model = tiny_model(k=k)
    made = standardised(model, QUERIES, DOCUMENTS, threshold=0.5)
    sides = [
        np.stack([pre_activations(model, text, side.prompt) for text in texts])
        for side, texts in ((model.config.query, QUERIES), (model.config.document, DOCUMENTS))
    ]
    mean = np.mean([values.mean(0) for values in sides], axis=0)
    spread = np.mean([values.std(0, ddof=1) for values in sides], axis=0)
    expected = np.log1p(np.maximum((sides[1] - mean) / spread - 0.5, 0))
    assert made.head.k is None
    weights = made.encode_documents(DOCUMENTS, top_k=None).toarray()
    np.testing.assert_allclose(weights, expected, atol=2e-4)
    assert 0 < np.count_nonzero(weights) < 0.6 * weights.size


def test_it_is_saved_as_another_model(tmp_path: Path) -> None:
    model = tiny_model(k=8)
    made = standardised(model, QUERIES, DOCUMENTS, threshold=1.5)
    made.calibrate(QUERIES, DOCUMENTS)
    made.save_pretrained(tmp_path / "made")
    model.save_pretrained(tmp_path / "model")
    loaded = SplareModel.load(tmp_path / "made", device="cpu")
    assert loaded.head.card["standardised"] == {"threshold": 1.5, "queries": 3, "documents": len(DOCUMENTS)}
    assert (loaded.encode_queries(TEXTS) != made.encode_queries(TEXTS)).nnz == 0
    assert loaded.config.index_fingerprint() != SplareModel.load(tmp_path / "model").config.index_fingerprint()


def test_a_latent_that_never_changes_stays_finite() -> None:
    model = tiny_model()
    W = model.head.W.data.clone()
    W[7] = 0
    still = SplareModel(model.config, model.backbone, SparseAutoencoder(W, model.head.b.data))
    made = standardised(still, QUERIES, DOCUMENTS, threshold=1.5)
    assert made.encode_documents(DOCUMENTS, top_k=None)[:, [7]].nnz == 0


def test_a_model_in_bfloat16_stays_in_it(tmp_path: Path) -> None:
    tiny_model().save_pretrained(tmp_path / "model")
    model = SplareModel.load(tmp_path / "model", device="cpu", dtype="bfloat16")
    made = standardised(model, QUERIES, DOCUMENTS, threshold=0.5)
    assert made.head.W.dtype == torch.bfloat16
    assert made.encode_documents(DOCUMENTS).nnz


def test_what_cannot_be_standardised() -> None:
    model = tiny_model()
    with pytest.raises(InputError, match="at least 2 texts of each side, not 1"):
        standardised(model, TEXTS[:1], DOCUMENTS, threshold=1.5)
    with pytest.raises(InputError, match="a threshold of nan"):
        standardised(model, QUERIES, DOCUMENTS, threshold=float("nan"))
