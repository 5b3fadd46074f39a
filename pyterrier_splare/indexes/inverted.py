"""Impacts of documents turned into inverted lists, in PISA's uncompressed layout and in bounded memory.

Layout (https://pisa.readthedocs.io, "Inverting a forward index"): 32-bit little-endian numbers, ``.docs`` begins with
``[1, N]``, then each list is its length followed by document numbers; ``.freqs`` has the lists of impacts; ``.sizes``
is one list with the sum of each document. The lists stand in the byte order of their terms.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from pyterrier_splare.indexes.folder import stacked
from splare_plugins.impacts import latent_term

_WORD = np.dtype("<u4")
_LARGEST_WORD = 2**32 - 1


class _Run(NamedTuple):
    """The lists of a stretch of the corpus, one latent after the other."""

    bounds: np.ndarray
    documents: np.ndarray
    impacts: np.ndarray


class Inverter:
    """Collects documents, sorts stretches of them by latent on disk, and merges these.

    Args:
        folder: where runs and the result are written.
        run_size: postings of a run; they are held in memory, at some 20 bytes each.
    """

    def __init__(self, folder: Path, *, run_size: int = 1 << 24) -> None:
        self._folder = folder
        self._run_size = run_size
        self._batches: list[csr_array] = []
        self._waiting = 0
        self._runs: list[Path] = []
        self._sums: list[np.ndarray] = []
        self._documents = 0

    def add(self, impacts: csr_array) -> None:
        """Append documents; int32, any number of latents."""
        self._batches.append(impacts)
        self._waiting += impacts.nnz
        self._sums.append(impacts.sum(axis=1, dtype=np.int64))
        if self._waiting >= self._run_size:
            self._write_run()

    def write(self, name: str) -> list[str]:
        """Write ``name.docs``, ``name.freqs`` and ``name.sizes``, and remove the runs.

        Returns:
            The terms, in the order of their lists.
        """
        self._write_run()
        runs = [_open_run(path) for path in self._runs]
        width = max((len(run.bounds) - 1 for run in runs), default=0)
        lengths = np.zeros(width, dtype=np.int64)
        for run in runs:
            lengths[: len(run.bounds) - 1] += np.diff(run.bounds)
        terms = sorted((latent_term(latent), latent) for latent in np.flatnonzero(lengths).tolist())
        latents = np.array([latent for _, latent in terms], dtype=np.int64)
        path = self._folder / name
        with path.with_name(f"{name}.docs").open("wb") as docs, path.with_name(f"{name}.freqs").open("wb") as freqs:
            docs.write(np.array([1, self._documents], dtype=_WORD).tobytes())
            for start, end in _blocks(lengths[latents], self._run_size):
                for stream, lists in zip((docs, freqs), _merge(runs, latents[start:end]), strict=True):
                    stream.write(lists.tobytes())
        sums = np.concatenate([[self._documents], *self._sums]) if self._sums else np.zeros(1, dtype=np.int64)
        path.with_name(f"{name}.sizes").write_bytes(np.minimum(sums, _LARGEST_WORD).astype(_WORD).tobytes())
        del runs
        for run_path in self._runs:
            for part in _parts(run_path):
                part.unlink()
        return [term for term, _ in terms]

    def _write_run(self) -> None:
        if not self._batches:
            return
        stretch = stacked(self._batches, max(batch.shape[1] for batch in self._batches))
        first, self._documents = self._documents, self._documents + stretch.shape[0]
        self._batches, self._waiting = [], 0
        by_latent = stretch.tocsc()
        path = self._folder / f"run-{len(self._runs)}"
        self._runs.append(path)
        documents = (by_latent.indices + first).astype(_WORD)
        run = _Run(by_latent.indptr.astype(np.int64), documents, by_latent.data.astype(_WORD))
        for part, array in zip(_parts(path), (run.bounds, run.documents, run.impacts), strict=True):
            np.save(part, array)


def _merge(runs: list[_Run], latents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lists of ``latents``, each with its length before it: document numbers, and impacts."""
    bounds = [_bounds_of(run, latents) for run in runs]
    lengths = sum((ends - starts for starts, ends in bounds), np.zeros(len(latents), dtype=np.int64))
    heads = np.cumsum(lengths + 1) - (lengths + 1)
    documents = np.empty(int(lengths.sum()) + len(latents), dtype=_WORD)
    impacts = np.empty_like(documents)
    documents[heads] = impacts[heads] = lengths
    free = heads + 1
    for run, (starts, ends) in zip(runs, bounds, strict=True):
        source, target = _ranges(starts, ends - starts), _ranges(free, ends - starts)
        documents[target] = run.documents[source]
        impacts[target] = run.impacts[source]
        free += ends - starts
    return documents, impacts


def _bounds_of(run: _Run, latents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the lists of ``latents`` start and end in a run; a run may have been made with fewer latents."""
    last = len(run.bounds) - 1
    return run.bounds[np.minimum(latents, last)], run.bounds[np.minimum(latents + 1, last)]


def _ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """``starts[i] .. starts[i] + lengths[i] - 1`` for every i, one after the other."""
    return np.repeat(starts - (np.cumsum(lengths) - lengths), lengths) + np.arange(lengths.sum())


def _blocks(lengths: np.ndarray, size: int) -> Iterator[tuple[int, int]]:
    """Stretches of lists with about ``size`` postings, at least one list each."""
    done = np.cumsum(lengths)
    start = 0
    while start < len(lengths):
        before = int(done[start - 1]) if start else 0
        end = max(start + 1, int(np.searchsorted(done, before + size, side="right")))
        yield start, end
        start = end


def _parts(path: Path) -> list[Path]:
    return [path.with_name(f"{path.name}.{part}.npy") for part in _Run._fields]


def _open_run(path: Path) -> _Run:
    return _Run(*(np.load(part, mmap_mode="r") for part in _parts(path)))
