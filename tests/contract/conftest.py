"""The engines under test and the vectors they are tested with.

A new engine joins the suite with one line in ``ENGINES``.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from splare_plugins.config import SideConfig, SplareConfig
from splare_plugins.engines import Engine, Hits, get_engine
from splare_plugins.engines.memory import MemoryEngine, MemorySearcher
from tests.wheels import needs_seismic

from .places import Cluster, Folder, Place

ENGINES = [
    pytest.param("memory", id="memory"),
    pytest.param("lucene", id="lucene", marks=pytest.mark.java),
    pytest.param("pisa", id="pisa"),
    pytest.param("terrier", id="terrier", marks=pytest.mark.java),
    pytest.param("anserini", id="anserini", marks=pytest.mark.java),
    pytest.param("seismic", id="seismic", marks=needs_seismic),
    pytest.param("opensearch", id="opensearch", marks=pytest.mark.java),
]

WIDTH = 2048
DATA = Path(__file__).parents[2] / "examples" / "data"


class DeviceEngine(MemoryEngine):
    """The engine memory where it searches with torch; on a GPU, the same code runs."""

    def searcher(self, location: str, **options: object) -> MemorySearcher:
        return super().searcher(location, device=torch.device("cpu"), **options)


@pytest.fixture(params=[*ENGINES, pytest.param(DeviceEngine, id="memory-torch")])
def engine(request: pytest.FixtureRequest) -> Engine:
    return get_engine(request.param) if isinstance(request.param, str) else request.param()


@pytest.fixture
def config() -> SplareConfig:
    return SplareConfig(
        name="contract",
        revision="1",
        backbone="backbone",
        width=WIDTH,
        query=SideConfig(top_k=40, scale=100.0),
        document=SideConfig(top_k=400, scale=50.0),
    )


@pytest.fixture
def place(engine: Engine, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Place]:
    if engine.name != "opensearch":
        yield Folder(tmp_path)
        return
    cluster = Cluster(request.getfixturevalue("opensearch_url"))
    yield cluster
    cluster.clear()


@pytest.fixture
def location(place: Place) -> str:
    return place.location


def random_impacts(
    rng: np.random.Generator, rows: int, features: int, *, width: int = WIDTH, top: int = 255
) -> csr_array:
    """Rows of ``features`` distinct latents with impacts spread evenly over 1..top."""
    latents = np.sort(np.argsort(rng.random((rows, width)), axis=1)[:, :features], axis=1).astype(np.int32)
    impacts = rng.integers(1, top + 1, size=rows * features).astype(np.int32)
    return csr_array((impacts, latents.ravel(), np.arange(rows + 1) * features), shape=(rows, width))


def impacts_from(rows: Sequence[dict[int, int]], width: int = WIDTH) -> csr_array:
    """Rows given as ``{latent: impact}``."""
    latents = np.array([latent for row in rows for latent in sorted(row)], dtype=np.int32)
    values = np.array([row[latent] for row in rows for latent in sorted(row)], dtype=np.int32)
    bounds = np.cumsum([0, *(len(row) for row in rows)])
    return csr_array((values, latents, bounds), shape=(len(rows), width))


def text_impacts(path: Path, rows: int) -> csr_array:
    """Vectors with the statistics of real text: words are latents, their counts become skewed impacts."""
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        texts = [json.loads(line)["text"] for line, _ in zip(stream, range(rows), strict=False)]
    counts = [Counter(zlib.crc32(word.encode()) % WIDTH for word in text.lower().split()) for text in texts]
    return impacts_from([{latent: min(255, 40 * count) for latent, count in row.items()} for row in counts])


def build(
    engine: Engine,
    location: str,
    docids: Sequence[str],
    impacts: csr_array,
    config: SplareConfig | None = None,
    **options: object,
) -> None:
    """Index everything in one batch."""
    with engine.writer(location, config, **options) as writer:
        writer.add(docids, impacts)


def search(engine: Engine, location: str, queries: csr_array, k: int) -> list[Hits]:
    with engine.searcher(location) as searcher:
        return searcher.search(queries, k)


def assert_exact(
    answers: Sequence[Hits], queries: csr_array, docids: Sequence[str], impacts: csr_array, k: int
) -> None:
    """Scores per rank equal the integer dot products, and each document has its own; ties are free."""
    products = queries.toarray().astype(np.int64) @ impacts.toarray().astype(np.int64).T
    # Engines that score in float32 are exact up to here; vectors of the suite stay below.
    assert products.max(initial=0) < 1 << 24
    assert len(answers) == queries.shape[0]
    for hits, scores in zip(answers, products, strict=True):
        own = dict(zip(docids, scores.tolist(), strict=True))
        best = np.sort(scores[scores > 0])[::-1][:k]
        assert hits.scores.dtype == np.float64
        assert hits.scores.tolist() == best.tolist()
        assert [own[docid] for docid in hits.docids] == best.tolist()
        assert len(set(hits.docids)) == len(hits.docids)
