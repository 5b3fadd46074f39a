"""One Parquet part: round trips, and damage that is noticed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from splare_plugins.corpus import Document, EncodedBatch, EncodedCounts
from splare_plugins.corpus.encoded import join_batches
from splare_plugins.corpus.parts import PartCard, documents_sha256, part_bytes, read_card, read_part
from splare_plugins.errors import InputError
from splare_plugins.machine.files import write_whole

WIDTH = 64
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@st.composite
def batches(draw: st.DrawFn) -> EncodedBatch:
    row = st.dictionaries(st.integers(0, WIDTH - 1), st.integers(1, 255), max_size=WIDTH)
    rows = draw(st.lists(row, max_size=6))
    dense = np.zeros((len(rows), WIDTH), dtype=np.int32)
    for number, values in enumerate(rows):
        for latent, impact in values.items():
            dense[number, latent] = impact
    count = st.lists(st.integers(0, 2**31 - 1), min_size=len(rows), max_size=len(rows))
    fields = st.fixed_dictionaries({"title": TEXT, "text": TEXT})
    return EncodedBatch(
        docids=draw(st.lists(TEXT.filter(bool), min_size=len(rows), max_size=len(rows), unique=True)),
        impacts=csr_array(dense),
        truncated=np.array(draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows))), dtype=bool),
        clipped=np.array(draw(count), dtype=np.int32),
        dropped=np.array(draw(count), dtype=np.int32),
        documents=draw(st.none() | st.lists(fields, min_size=len(rows), max_size=len(rows))),
    )


def assert_same(one: EncodedBatch, other: EncodedBatch) -> None:
    assert one.docids == other.docids
    assert one.impacts.dtype == other.impacts.dtype == np.int32
    assert one.impacts.shape == other.impacts.shape
    assert (one.impacts != other.impacts).nnz == 0
    assert one.documents == other.documents
    for name in ("truncated", "clipped", "dropped"):
        mine, others = getattr(one, name), getattr(other, name)
        assert mine.dtype == others.dtype
        assert mine.tolist() == others.tolist()


def card_of(batch: EncodedBatch) -> PartCard:
    return PartCard(fingerprint="f", number=3, width=WIDTH, source_sha256="ab", counts=EncodedCounts.of(batch))


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80, deadline=None)
@given(batch=batches())
def test_round_trip(tmp_path: Path, batch: EncodedBatch) -> None:
    path = tmp_path / "with=sign" / "part.parquet"
    write_whole(path, part_bytes(batch, card_of(batch)))
    back, card = read_part(path)
    assert_same(back, batch)
    assert card == read_card(path) == card_of(batch)
    first = path.read_bytes()
    write_whole(path, part_bytes(back, card))
    assert path.read_bytes() == first


@given(st.lists(batches(), min_size=1, max_size=4))
@settings(max_examples=30, deadline=None)
def test_joining(parts: list[EncodedBatch]) -> None:
    whole = join_batches(parts)
    assert whole.docids == [docid for part in parts for docid in part.docids]
    assert whole.impacts.toarray().tolist() == [row for part in parts for row in part.impacts.toarray().tolist()]
    assert EncodedCounts.of(whole) == sum((EncodedCounts.of(part) for part in parts), EncodedCounts())


@pytest.fixture
def part(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    dense = (rng.random((200, WIDTH)) < 0.3) * rng.integers(1, 256, size=(200, WIDTH))
    batch = EncodedBatch(
        docids=[f"d{number}" for number in range(200)],
        impacts=csr_array(dense.astype(np.int32)),
        truncated=np.zeros(200, dtype=bool),
        clipped=np.zeros(200, dtype=np.int32),
        dropped=np.zeros(200, dtype=np.int32),
    )
    write_whole(tmp_path / "part.parquet", part_bytes(batch, card_of(batch)))
    return tmp_path / "part.parquet"


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_part(part: Path, keep: float) -> None:
    part.write_bytes(part.read_bytes()[: int(keep * part.stat().st_size)])
    with pytest.raises(InputError, match=r"part\.parquet is missing, cut off or damaged \(.*\); remove it") as caught:
        read_part(part)
    assert "\n" not in str(caught.value)


def test_flipped_bits(part: Path) -> None:
    whole = part.read_bytes()
    for position in range(40, len(whole) // 2, len(whole) // 23):
        part.write_bytes(whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :])
        with pytest.raises(InputError, match=r"part\.parquet"):
            read_part(part)


def test_files_that_are_no_parts(part: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is missing"):
        read_part(tmp_path / "nowhere.parquet")
    foreign = tmp_path / "foreign.parquet"
    pq.write_table(pa.table({"docid": ["a"]}), foreign)
    with pytest.raises(InputError, match=r"not a part of a corpus"):
        read_part(foreign)
    pq.write_table(pq.read_table(part).drop_columns(["impacts"]), foreign)
    with pytest.raises(InputError, match=r"does not have the columns"):
        read_part(foreign)


def test_hash_of_documents_depends_on_every_field() -> None:
    variants = [
        [Document("a", "b", "c")],
        [Document("a", "c", "b")],
        [Document("ab", "", "c")],
        [Document("a", "b", "c"), Document("d", "")],
        [Document("a", "b" * 2, "c")],
    ]
    assert len({documents_sha256(documents) for documents in variants}) == len(variants)
