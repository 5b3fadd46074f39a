from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from splare_plugins.model.batching import _start_on_device, length_batches, top_k_rows

# What a processor does with arrays and with tensors, and what is done on a GPU.
WAYS = (
    lambda rows, top_k: top_k_rows(np.array(rows, dtype=np.float32), top_k),
    lambda rows, top_k: top_k_rows(torch.tensor(rows, dtype=torch.bfloat16), top_k),
    lambda rows, top_k: _start_on_device(torch.tensor(rows, dtype=torch.float32), top_k)(),
)


@given(st.lists(st.integers(0, 50)), st.integers(1, 100))
def test_batches_hold_every_text_once_within_the_budget(lengths, budget):
    batches = list(length_batches(lengths, budget))
    assert sorted(number for batch in batches for number in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[number] for number in batch) <= budget
    longest = [max(lengths[number] for number in batch) for batch in batches]
    assert longest == sorted(longest, reverse=True)


@given(
    st.lists(st.lists(st.integers(-3, 3), min_size=6, max_size=6), min_size=1, max_size=5),
    st.one_of(st.none(), st.integers(1, 8)),
    st.sampled_from(WAYS),
)
def test_rows_keep_the_largest_positive_weights(rows, top_k, way):
    kept = way(rows, top_k)
    assert kept.has_sorted_indices and kept.dtype == np.float32 and kept.shape == (len(rows), 6)
    for row, dense in zip(rows, kept.toarray(), strict=True):
        positive = sorted(value for value in row if value > 0)
        assert sorted(dense[dense > 0].tolist()) == (positive if top_k is None else positive[-top_k:])
        assert all(dense[column] in (0, value) for column, value in enumerate(np.array(row)))


@given(st.lists(st.integers(0, 50)), st.integers(1, 100))
def test_batches_of_packed_texts_are_filled_with_their_own_tokens(lengths, budget):
    batches = list(length_batches(lengths, budget, packed=True))
    assert sorted(number for batch in batches for number in batch) == list(range(len(lengths)))
    totals = [sum(lengths[number] for number in batch) for batch in batches]
    for batch, total in zip(batches, totals, strict=True):
        assert len(batch) == 1 or total <= budget
    for total, following in zip(totals, batches[1:], strict=False):
        assert total + lengths[following[0]] > budget


@given(
    st.lists(st.lists(st.integers(-3, 3), min_size=6, max_size=6), min_size=1, max_size=5),
    st.one_of(st.none(), st.integers(1, 8)),
)
def test_of_equal_weights_the_first_are_kept(rows, top_k):
    kept = top_k_rows(np.array(rows, dtype=np.float32), top_k)
    for row, found in zip(rows, kept, strict=True):
        ordered = sorted((-value, latent) for latent, value in enumerate(row) if value > 0)
        assert sorted(latent for _, latent in ordered[:top_k]) == found.indices.tolist()
