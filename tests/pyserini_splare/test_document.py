"""Text for Lucene's filter."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from pyserini_splare.document import term_texts

ROWS = st.lists(st.dictionaries(st.integers(0, 999), st.integers(1, 2**31 - 1), max_size=5), max_size=5)


@given(ROWS, st.sampled_from([2**31 - 1, 70_000, 65_535, 255, 1]))
def test_texts_say_what_the_rows_hold(rows: list[dict[int, int]], top: int) -> None:
    rows = [{latent: min(impact, top) for latent, impact in row.items()} for row in rows]
    indptr = np.cumsum([0, *map(len, rows)])
    indices = np.array([latent for row in rows for latent in row], dtype=np.int32)
    data = np.array([impact for row in rows for impact in row.values()], dtype=np.int32)
    texts = term_texts(csr_array((data, indices, indptr), shape=(len(rows), 1000)))
    assert [text.split() for text in texts] == [
        [f"f{latent}|{impact}" for latent, impact in row.items()] for row in rows
    ]
