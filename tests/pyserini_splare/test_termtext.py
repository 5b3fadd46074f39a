"""Text for Lucene's filter, and the memory of ids."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from pyserini_splare.seen import SeenIds
from pyserini_splare.termtext import term_texts

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


@given(st.lists(st.lists(st.text(max_size=3), max_size=8), max_size=12))
def test_every_repeated_id_is_suspected(batches: list[list[str]]) -> None:
    seen, known = SeenIds(), set[str]()
    for batch in batches:
        suspects = set(seen.add(batch))
        assert suspects == {docid for docid in batch if docid in known or batch.count(docid) > 1}
        known.update(batch)


def test_runs_stay_few() -> None:
    seen = SeenIds()
    for start in range(0, 10_000, 10):
        assert seen.add([str(number) for number in range(start, start + 10)]) == []
    assert len(seen._runs) < 15
