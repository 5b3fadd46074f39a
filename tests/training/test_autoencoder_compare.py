"""Two SAEs on the same texts: what is the same, what differs, and what cannot be compared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from splare_plugins.errors import InputError
from splare_plugins.heads import SparseAutoencoder
from splare_plugins.model.splare import SplareModel
from splare_plugins.training.autoencoder.compare import Fired, active_latents, fired, overlap
from tests.tiny import TEXTS, tiny_model
from tests.training.test_autoencoder import write


@pytest.fixture
def corpus(tmp_path):
    return write(tmp_path / "corpus.jsonl", TEXTS)


def with_head(model: SplareModel, head: SparseAutoencoder) -> SplareModel:
    return SplareModel(replace(model.config, width=head.width), model.backbone, head)


def test_the_same_latents_in_another_order_are_found_again(corpus):
    model = tiny_model(k=20)
    order = torch.randperm(512, generator=torch.Generator().manual_seed(0))
    shuffled = with_head(model, SparseAutoencoder(model.head.W[order], model.head.b[order], k=20))
    a, b = (fired(each, corpus, tokens=80) for each in (model, shuffled))
    assert a.firing.shape == (80, 512)
    assert (a.l0, a.silent_share) == (b.l0, b.silent_share)
    assert a.explained == pytest.approx(b.explained, abs=1e-5)
    same = overlap(a, a)
    assert (same.a, same.b, same.same_id) == (1.0, 1.0, 1.0)
    moved = overlap(a, b)
    assert (moved.a, moved.b, moved.same_id < 0.2) == (1.0, 1.0, True)


def test_overlap_is_tokens_of_both_over_tokens_of_either():
    spans = np.column_stack([np.zeros(6), np.arange(6), np.arange(1, 7)])
    columns = [[1, 0], [1, 0], [1, 0], [1, 1], [0, 1], [0, 1]]
    a = Fired(spans, csr_array(np.array(columns, dtype=float)), 0.0)
    others = [[1, 0, 0], [1, 0, 0], [0, 0, 0], [0, 1, 0], [0, 1, 0], [1, 1, 0]]
    b = Fired(spans, csr_array(np.array(others, dtype=float)), 0.0)
    found = overlap(a, b)
    # The first of a has 4 tokens, the first of b 3, two of them in common; the seconds are the same three.
    assert (found.a, found.b) == (pytest.approx((2 / 5 + 1) / 2), pytest.approx((2 / 5 + 1) / 2))
    assert (found.same_id, b.silent_share) == (None, pytest.approx(1 / 3))
    assert overlap(a, replace(b, spans=spans + 1)) is None


@pytest.mark.parametrize("k", [None, 5])
def test_active_latents_are_those_above_their_thresholds(k):
    torch.manual_seed(0)
    head = SparseAutoencoder(torch.randn(40, 8), torch.randn(40), torch.rand(40), k=k)
    states = torch.randn(100, 8)
    values = states @ head.W.T + head.b
    above = values > head.theta
    if k is not None:
        above &= values >= values.topk(k).values[:, -1:]
    for found, expected in zip(active_latents(head, states), above, strict=True):
        assert found.tolist() == expected.nonzero()[:, 0].tolist()


def test_a_corpus_without_tokens_is_refused(tmp_path):
    with pytest.raises(InputError, match="has no tokens"):
        fired(tiny_model(), write(tmp_path / "empty.jsonl", ["", " "]), tokens=10)
