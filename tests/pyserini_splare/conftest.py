"""One Java virtual machine for all tests here, and vectors to index."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array

from pyserini_splare import LuceneWriter, start_jvm

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def jvm() -> None:
    """Java runs, with a hundredth of the start-up time that importing pyserini takes."""
    start_jvm()


def random_impacts(rows: int, features: int, *, width: int = 500, top: int = 255, seed: int = 0) -> csr_array:
    """Rows of up to ``features`` latents; no row is empty."""
    rng = np.random.default_rng(seed)
    dense = np.zeros((rows, width), dtype=np.int32)
    for row in dense:
        chosen = rng.choice(width, size=rng.integers(1, features + 1), replace=False)
        row[chosen] = rng.integers(1, top + 1, size=len(chosen))
    return csr_array(dense)


def impacts_of(*rows: dict[int, int], width: int = 500) -> csr_array:
    """Rows given as ``{latent: impact}``."""
    dense = np.zeros((len(rows), width), dtype=np.int32)
    for row, impacts in enumerate(rows):
        for latent, impact in impacts.items():
            dense[row, latent] = impact
    return csr_array(dense)


def names(count: int) -> list[str]:
    return [f"d{number}" for number in range(count)]


def write(path: Path, impacts: csr_array, docids: Sequence[str] | None = None, **options: object) -> None:
    """Index everything in one batch."""
    with LuceneWriter(path, **options) as writer:  # type: ignore[arg-type]
        writer.add(docids or names(impacts.shape[0]), impacts)


def products(queries: csr_array, documents: csr_array) -> np.ndarray:
    """Integer dot products, shape ``(queries, documents)``."""
    return queries.toarray().astype(np.int64) @ documents.toarray().astype(np.int64).T


def best(scores: np.ndarray, docids: Sequence[str], k: int) -> tuple[list[str], list[int]]:
    """The ``k`` best documents with a positive score, ties by id."""
    order = sorted(np.flatnonzero(scores > 0).tolist(), key=lambda row: (-scores[row], docids[row]))[:k]
    return [docids[row] for row in order], [int(scores[row]) for row in order]


def python(code: str, *arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, **options)  # type: ignore[call-overload,no-any-return]
