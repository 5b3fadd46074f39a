"""A disk that is full in the middle of writing: one sentence, and what stood there before stays."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import random_array

from splare_plugins.corpus import EncodedBatch, EncodedCounts, write_run
from splare_plugins.corpus.parts import PartCard, part_bytes
from splare_plugins.engines import Hits
from splare_plugins.engines.memory import MemoryEngine, MemorySearcher
from splare_plugins.errors import InputError
from splare_plugins.machine.files import write_whole


@contextmanager
def small_disk() -> Iterator[None]:
    """Files of this process cannot grow beyond 20 kB, which fails as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def big_batch(rows: int = 300) -> EncodedBatch:
    rng = np.random.default_rng(0)
    impacts = random_array(
        (rows, 2000), density=0.1, format="csr", rng=rng, data_sampler=lambda size: rng.integers(1, 256, size)
    )
    zeros = np.zeros(rows, dtype=np.int32)
    return EncodedBatch(
        docids=[f"d{row}" for row in range(rows)],
        impacts=impacts.astype(np.int32),
        truncated=zeros > 0,
        clipped=zeros,
        dropped=zeros,
    )


def test_memory_index(tmp_path: Path) -> None:
    place, batch = str(tmp_path / "index"), big_batch()
    with MemoryEngine().writer(place, None) as writer:
        writer.add(["old"], batch.impacts[:1])
    writer = MemoryEngine().writer(place, None, overwrite=True)
    writer.add(batch.docids, batch.impacts)
    with pytest.raises(InputError, match=r"cannot write .*index/memory_index.*make room"), small_disk():
        writer.commit()
    assert MemorySearcher(place).num_docs == 1
    assert len(list((tmp_path / "index").iterdir())) == 1
    writer = MemoryEngine().writer(str(tmp_path / "new"), None)
    writer.add(batch.docids, batch.impacts)
    with pytest.raises(InputError, match=r"cannot write"), small_disk():
        writer.commit()
    assert not (tmp_path / "new").exists()


def test_part(tmp_path: Path) -> None:
    batch = big_batch()
    card = PartCard(fingerprint="f", number=0, width=2000, source_sha256="", counts=EncodedCounts.of(batch))
    with pytest.raises(InputError, match=r"cannot write .*part\.parquet: .*make room"), small_disk():
        write_whole(tmp_path / "part.parquet", part_bytes(batch, card))
    assert list(tmp_path.iterdir()) == []


def test_run(tmp_path: Path) -> None:
    hits = Hits([f"document-{number}" for number in range(2000)], np.arange(2000, 0, -1, dtype=np.float64))
    with pytest.raises(InputError, match=r"cannot write .*run: .*make room"), small_disk():
        write_run(tmp_path / "run", {"q": hits})
    assert list(tmp_path.iterdir()) == []
