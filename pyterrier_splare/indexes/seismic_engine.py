"""Seismic behind the contract of :mod:`splare_plugins.engines.base`.

Seismic keeps of each latent's list only the largest impacts, in clusters with summaries, and visits the clusters that
promise most (Bruch et al., SIGIR 2024). The impacts themselves lie beside the index, for its exhaustive search.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from numbers import Real
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from scipy.sparse import csr_array

from pyterrier_splare.indexes.child import run_script
from pyterrier_splare.indexes.folder import FolderSearcher, FolderWriter, stacked
from splare_plugins.config import SplareConfig, check_count
from splare_plugins.engines.base import Hits, PairedEngine
from splare_plugins.errors import InputError, MissingPartError

_IMPACTS = "impacts.safetensors"
_DOCIDS = "docids.json"
_LATENTS = "latents.npy"
_INDEX = "splare.index.seismic"
# The plain classes number latents with 16 bits, the others (LV: large vocabulary) with 32.
_FEW_LATENTS = 1 << 16
# Impacts are stored as 16-bit floats, which hold every integer up to here.
_LARGEST_IMPACT = 2048

# Share of all postings that an index keeps, and how many of a latent's at least, on average.
_KEPT = 0.2
_FEWEST_POSTINGS = 30

BUILD: Mapping[str, float | None] = MappingProxyType(
    {
        "n_postings": None,
        "max_fraction": 8.0,
        "centroid_fraction": 0.1,
        "min_cluster_size": 2,
        "summary_energy": 0.4,
        "doc_cut": 20,
    }
)
"""What an index is built with. ``n_postings``, the mean length of a latent's list, follows the corpus: ``None`` keeps
a fifth of all postings, the largest ones. Seismic's own defaults are made for short vectors of words: of 400 latents a
document they keep nearly all, and building takes several times as long."""

PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "fast": {"query_cut": 40, "heap_factor": 0.5, "sorted": True},
        # SPLARE's own measurements: k 1000, query_cut 30, heap_factor 0.5, no kNN graph, unsorted, one thread.
        "paper": {"query_cut": 30, "heap_factor": 0.5, "sorted": False},
    }
)
EXHAUSTIVE = "exhaustive"
NO_WHEEL = sys.version_info >= (3, 12)
"""Of pyseismic-lsr 0.5.4, the first version that adds documents by their ids."""


class SeismicWriter(FolderWriter):
    """Collects all impacts in memory and builds at the end, in a process of its own.

    Args:
        location: folder of the index.
        config: the model whose impacts will be added.
        overwrite: replace the index that stands there.
        threads: that build; ``None`` takes all.
        **build: values to use instead of those of :data:`BUILD`.
    """

    kind = "splare_seismic"
    largest_impact = _LARGEST_IMPACT

    def __init__(
        self,
        location: str | Path,
        config: SplareConfig | None = None,
        *,
        overwrite: bool = False,
        threads: int | None = None,
        **build: float | None,
    ) -> None:
        if unknown := sorted(set(build) - set(BUILD)):
            raise InputError(f"Seismic has no build parameter {unknown[0]!r}; choose from {', '.join(BUILD)}")
        super().__init__(location, config, overwrite=overwrite)
        self._build = {**BUILD, **build}
        self._threads = threads or os.cpu_count() or 1
        self._docids: list[str] = []
        self._batches: list[csr_array] = []

    def _add(self, docids: Sequence[str], impacts: csr_array) -> None:
        self._docids += docids
        self._batches.append(impacts)

    def _finish(self) -> dict[str, Any]:
        (self.folder / _DOCIDS).write_text(json.dumps(self._docids, ensure_ascii=False), encoding="utf-8")
        matrix = stacked(self._batches, self.width) if self._batches else csr_array((0, 0), dtype=np.int32)
        self._batches = []
        # Seismic spends time and space on every number up to the largest, so only those that occur have one.
        latents, numbers = np.unique(matrix.indices, return_inverse=True)
        np.save(self.folder / _LATENTS, latents)
        if self._build["n_postings"] is None:
            mean = matrix.nnz / max(1, len(latents))
            self._build["n_postings"] = max(_FEWEST_POSTINGS, round(_KEPT * mean))
        classes = "" if len(latents) <= _FEW_LATENTS else "LV"
        if self.impacts:
            impacts = {
                "impacts": matrix.data.astype(np.uint16),
                "latents": numbers.astype(np.int32),
                "rows": matrix.indptr.astype(np.int64),
            }
            try:
                save_file(impacts, self.folder / _IMPACTS)
            except SafetensorError as error:
                raise InputError(f"{self.location} cannot be written: {error}; make room and run again") from error
            # Seismic adds its own ending.
            stem = str(self.folder / _INDEX).removesuffix(".index.seismic")
            parameters = json.dumps({**self._build, "num_threads": self._threads})
            arguments = (str(self.folder / _IMPACTS), classes, stem, parameters)
            run_script("seismic_build.py", *arguments, purpose="building with Seismic")
        return {"build": self._build, "classes": classes}


class SeismicSearcher(FolderSearcher):
    """Searches the index, or exhaustively: then scores are exact up to 16,777,216, and so is the order.

    Args:
        location: folder of the index.
        preset: ``"exhaustive"``, or one of :data:`PRESETS`.
        query_cut: latents of a query that are followed, the largest first; instead of the preset's.
        heap_factor: clusters that promise less than this share of the worst hit so far are skipped: 0 skips none;
            instead of the preset's.
        threads: queries answered at the same time.
    """

    kind = SeismicWriter.kind

    def __init__(
        self,
        location: str | Path,
        *,
        preset: str = EXHAUSTIVE,
        query_cut: int | None = None,
        heap_factor: float | None = None,
        threads: int = 1,
    ) -> None:
        chosen = {"query_cut": query_cut, "heap_factor": heap_factor}
        for name, value in {"preset": preset, "threads": threads, **chosen}.items():
            check_option(name, value)
            if preset == EXHAUSTIVE and chosen.get(name) is not None:
                raise InputError(f"an exhaustive search follows every latent, so {name} has no effect; omit it")
        super().__init__(location)
        self._threads = threads
        self._settings = {**PRESETS.get(preset, {}), **{name: it for name, it in chosen.items() if it is not None}}
        self._docids: list[str] = json.loads((self.location / _DOCIDS).read_text(encoding="utf-8"))
        self._latents: np.ndarray = np.load(self.location / _LATENTS)
        self._index: Any = None
        if self.meta["impacts"]:
            self._index = self._read_impacts() if preset == EXHAUSTIVE else self._read_index()

    def close(self) -> None:
        """Release the index."""
        super().close()
        self._index, self._docids = None, []

    def _search(self, impacts: csr_array, k: int) -> Sequence[Hits]:
        text = _seismic().get_seismic_string()
        bounds = list(pairwise(impacts.indptr.tolist()))
        # Documents were added with numbers for latents, and these numbers are the tokens of queries; one that no
        # document has gets a number that is not taken.
        numbers = np.searchsorted(self._latents, impacts.indices)
        numbers[~np.isin(impacts.indices, self._latents)] = len(self._latents)
        found = self._index.batch_search(
            np.arange(impacts.shape[0]).astype(text),
            [numbers[start:end].astype(text) for start, end in bounds],
            [impacts.data[start:end].astype(np.float32) for start, end in bounds],
            k=k,
            num_threads=self._threads,
            **self._settings,
        )
        answers = [Hits([], np.zeros(0)) for _ in bounds]
        # Answers come in any order, those without a hit as empty lists, and an exhaustive search gives all documents.
        for hits in found:
            best = sorted((-score, int(number)) for _, score, number in hits if score > 0)
            if best:
                scores = np.array([-score for score, _ in best], dtype=np.float64)
                answers[int(hits[0][0])] = Hits([self._docids[number] for _, number in best], scores)
        return answers

    def _read_impacts(self) -> Any:
        tensors = load_file(self.location / _IMPACTS)
        dataset = getattr(_seismic(), f"SeismicDataset{self.meta['classes']}")()
        numbers = [str(number) for number in range(self.num_docs)]
        values = tensors["impacts"].astype(np.float32)
        dataset.add_documents_by_id(numbers, tensors["latents"].astype(np.int64), values, tensors["rows"])
        return dataset

    def _read_index(self) -> Any:
        return getattr(_seismic(), f"SeismicIndex{self.meta['classes']}").load(str(self.location / _INDEX))


class SeismicEngine(PairedEngine):
    """The engine ``seismic``; its searcher is exhaustive, and so exact, unless a preset is named."""

    name = "seismic"
    writer_class = SeismicWriter
    searcher_class = SeismicSearcher
    approximate = True
    exact: ClassVar = {"preset": EXHAUSTIVE}
    candidates: ClassVar = [
        {"preset": "fast", "query_cut": query_cut, "heap_factor": heap_factor}
        for query_cut in (5, 10, 20, 40)
        for heap_factor in (1.0, 0.9, 0.8, 0.7, 0.5, 0.0)
    ]

    def __init__(self) -> None:
        require_seismic()


def check_option(name: str, value: Any) -> None:
    """Refuse an option of :class:`SeismicSearcher`; ``None`` is the preset's.

    Raises:
        InputError: naming the values that it can have.
    """
    if name == "preset" and value not in (*PRESETS, EXHAUSTIVE):
        raise InputError(f"Seismic has no preset {value!r}; choose {', '.join(PRESETS)} or {EXHAUSTIVE}")
    if name == "threads" or (name == "query_cut" and value is not None):
        check_count(value, "query_cut" if name == "query_cut" else "the number of threads")
    if name == "heap_factor" and value is not None and not (isinstance(value, Real) and float(value) >= 0):
        raise InputError(f"heap_factor must be a number from 0, not {value!r}")


def require_seismic() -> None:
    """Say what to do where Seismic is not installed.

    Raises:
        MissingPartError: naming the way out.
    """
    if importlib.util.find_spec("seismic") is None:
        if NO_WHEEL:
            raise MissingPartError(
                "Seismic needs the package pyseismic-lsr, which has no wheel for Python 3.12 or later: build it with "
                "Rust (pip install pyseismic-lsr), or use another index, for example SplareIndex.pisa()"
            )
        raise MissingPartError(
            "Seismic needs the package pyseismic-lsr, which is not installed: run "
            "pip install 'splare-plugins[pyterrier]'"
        )


def _seismic() -> Any:
    import seismic

    return seismic
