"""The memory of ids."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pyserini_splare.admission import SeenIds


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
