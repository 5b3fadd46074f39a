"""The exact engine: one sparse integer product in memory. Small corpora, and the yardstick of the others."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from copy import copy
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from scipy.sparse import csr_array, vstack

from splare_plugins.config import SplareConfig
from splare_plugins.engines.base import Hits, IndexWriter, Searcher
from splare_plugins.engines.checks import check_batch, check_impacts, check_k
from splare_plugins.errors import InputError
from splare_plugins.impacts import keep_largest, latent_id, latent_term
from splare_plugins.machine.files import replacing
from splare_plugins.steering import Weights, steer

if TYPE_CHECKING:
    import torch

INDEX_FILE = "memory_index.safetensors"
FORMAT_VERSION = 1
_CARD = "splare"
# Bounds the memory of a search: a batch of queries may reach every document.
_SCORES_AT_ONCE = 1 << 22


class MemoryEngine:
    """Holds the whole index in memory, the processor's or a GPU's, and scores it exactly.

    The index is a folder with one safetensors file, so that publishing and replacing it is one rename: matrix, ids,
    and the config in the header. Stored fields (``documents``) are not kept.
    """

    name = "memory"

    def writer(
        self, location: str, config: SplareConfig | None, *, overwrite: bool = False, **options: Any
    ) -> MemoryWriter:
        """See :meth:`Engine.writer`; there are no options."""
        _refuse_options(options)
        return MemoryWriter(location, config, overwrite=overwrite)

    def searcher(self, location: str, *, device: str | torch.device = "cpu", **options: Any) -> MemorySearcher:
        """See :meth:`Engine.searcher`; ``device`` is that of :class:`MemorySearcher`."""
        if options:
            raise InputError(f"searching with memory has no setting {next(iter(options))!r}; it has device")
        return MemorySearcher(location, device=device)


class MemoryWriter(IndexWriter):
    """Collects batches and writes them when the ``with`` block ends."""

    def __init__(self, location: str, config: SplareConfig | None, *, overwrite: bool = False) -> None:
        self._path = Path(location) / INDEX_FILE
        self._overwrite = overwrite
        self._check_place()
        self._config = config
        self._width = config.width if config else None
        self._docids: list[str] = []
        self._batches: list[csr_array] = []

    def add(
        self, docids: Sequence[str], impacts: csr_array, documents: Sequence[Mapping[str, Any]] | None = None
    ) -> None:
        """See :meth:`IndexWriter.add`."""
        check_batch(docids, impacts, self.known_ids, self._width)
        self._width = impacts.shape[1]
        self._docids.extend(docids)
        self._batches.append(impacts.astype(np.int32))

    def commit(self) -> None:
        """See :meth:`IndexWriter.commit`."""
        self._check_place()
        try:
            with replacing(self._path) as beside:
                self._save(beside)
        except BaseException:
            # The folder, if it was made for this index and is empty.
            with suppress(OSError):
                self._path.parent.rmdir()
            raise

    def abort(self) -> None:
        """See :meth:`IndexWriter.abort`; nothing is written before :meth:`commit`."""
        self._docids, self._batches = [], []

    def _check_place(self) -> None:
        """Before the work begins, and again before it is published."""
        location = self._path.parent
        if location.exists():
            if not self._path.is_file():
                raise InputError(f"{location} is not an index of the memory engine; remove it or choose another place")
            if not self._overwrite:
                raise InputError(
                    f"{location} exists already; choose another place, or add --overwrite (overwrite=True)"
                )
        there = next(parent for parent in (location, *location.absolute().parents) if parent.exists())
        if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
            raise InputError(f"{location} cannot be written, because {there} is not a folder that can be written to")

    def _save(self, path: Path) -> None:
        width = self._width or 0
        matrix = csr_array(vstack(self._batches)) if self._batches else csr_array((0, width), dtype=np.int32)
        matrix.sort_indices()
        ids = [docid.encode() for docid in self._docids]
        tensors = {
            "impacts": matrix.data.astype(np.int32),
            "latents": matrix.indices.astype(np.int32),
            "rows": matrix.indptr.astype(np.int64),
            "ids": np.frombuffer(b"".join(ids), dtype=np.uint8),
            "id_ends": np.cumsum([len(each) for each in ids], dtype=np.int64),
        }
        config = self._config.to_dict() if self._config else None
        card = {"format": FORMAT_VERSION, "documents": len(ids), "width": width, "config": config}
        try:
            save_file(tensors, path, metadata={_CARD: json.dumps(card, ensure_ascii=False)})
        except SafetensorError as error:
            raise InputError(f"cannot write {self._path}: {error}; make room and run again") from error


class MemorySearcher(Searcher):
    """Exact search; documents with the same score come in the order in which they were indexed.

    Args:
        location: folder of the index.
        device: where the products are computed: ``"cpu"`` takes scipy and 64-bit integers; ``"cuda"``, or another
            device of torch, :class:`splare_plugins.engines.device.DeviceProduct`, with the same results; ``"auto"`` is
            cuda where there is one.

    Raises:
        InputError: if there is no index, or the device cannot be used or has too little memory.
    """

    def __init__(self, location: str, *, device: str | torch.device = "cpu") -> None:
        card, self._docids, matrix = _load(Path(location))
        self.config = SplareConfig.from_dict(card["config"]) if card["config"] else None
        self.num_docs, self._width = matrix.shape
        self._product: _Product | None = _product(matrix, device)
        self.narrows = isinstance(self._product, _HostProduct)

    def search(self, impacts: csr_array, k: int, *, weights: Weights | None = None) -> list[Hits]:
        """See :meth:`Searcher.search`."""
        check_k(k)
        check_impacts(impacts, self._width)
        return [
            Hits([self._docids[document] for document in documents], scores.astype(float))
            for documents, scores in self._opened.best(steer(impacts, weights), k)
        ]

    def vector(self, docid: str) -> dict[str, int] | None:
        """See :meth:`Searcher.vector`."""
        try:
            latents, impacts = self._opened.row(self._docids.index(docid))
        except ValueError:
            return None
        return {latent_term(latent): impact for latent, impact in zip(latents.tolist(), impacts.tolist(), strict=True)}

    def document_frequency(self, term: str) -> int:
        """See :meth:`Searcher.document_frequency`."""
        return self._opened.frequency(latent_id(term))

    def num_impacts(self) -> int:
        """See :meth:`Searcher.num_impacts`."""
        return self._opened.size()

    def narrowed(self, top_k: int) -> MemorySearcher | None:
        """See :meth:`Searcher.narrowed`; takes as much memory as the index, and not on a GPU."""
        if not isinstance(self._opened, _HostProduct):
            return None
        smaller = copy(self)
        smaller._product = self._opened.narrowed(top_k)
        return smaller

    @property
    def _opened(self) -> _Product:
        if self._product is None:
            raise InputError("this index was closed; open it again")
        return self._product

    def close(self) -> None:
        """Release the index."""
        self._docids, self._product = [], None


class _Product(Protocol):
    def best(self, queries: csr_array, k: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """For each query the numbers of its best ``k`` documents, and their scores."""

    def row(self, document: int) -> tuple[np.ndarray, np.ndarray]:
        """Latents and impacts of a document."""

    def frequency(self, latent: int) -> int:
        """How many documents have a latent."""

    def size(self) -> int:
        """Impacts of all documents."""


def _product(documents: csr_array, device: str | torch.device) -> _Product:
    if device == "cpu":
        return _HostProduct(documents)
    from splare_plugins.engines.device import DeviceProduct, find_device

    place = find_device(device)
    return _HostProduct(documents) if place is None else DeviceProduct(documents, place)


class _HostProduct:
    def __init__(self, documents: csr_array) -> None:
        self._latents_by_document = documents.T.tocsr()

    def best(self, queries: csr_array, k: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        step = max(1, _SCORES_AT_ONCE // max(1, self._latents_by_document.shape[1]))
        for begin in range(0, queries.shape[0], step):
            scores = queries[begin : begin + step].astype(np.int64) @ self._latents_by_document
            scores.sort_indices()
            for start, end in pairwise(scores.indptr.tolist()):
                best = _best(scores.data[start:end], k)
                yield scores.indices[start:end][best], scores.data[start:end][best]

    def row(self, document: int) -> tuple[np.ndarray, np.ndarray]:
        column = self._latents_by_document[:, [document]].tocoo()
        return column.coords[0], column.data

    def frequency(self, latent: int) -> int:
        start, end = self._latents_by_document.indptr[latent : latent + 2].tolist()
        return int(end - start)

    def size(self) -> int:
        return int(self._latents_by_document.nnz)

    def narrowed(self, top_k: int) -> _HostProduct:
        return _HostProduct(keep_largest(csr_array(self._latents_by_document.T.tocsr()), top_k))


def _best(scores: np.ndarray, k: int) -> np.ndarray:
    """Positions of the ``k`` largest scores, largest first, equal ones in their order."""
    positions = np.arange(len(scores))
    if len(scores) > k:
        threshold = np.partition(scores, len(scores) - k)[len(scores) - k]
        above = positions[scores > threshold]
        positions = np.concatenate([above, positions[scores == threshold][: k - len(above)]])
        positions.sort()
    return positions[np.argsort(-scores[positions], kind="stable")]


def _load(location: Path) -> tuple[dict[str, Any], list[str], csr_array]:
    """Card, ids and int64 impacts, checked against each other."""
    path = location / INDEX_FILE
    if not path.is_file():
        raise InputError(f"{location} is not an index of the memory engine: it has no {INDEX_FILE}")
    try:
        with safe_open(path, framework="numpy") as file:
            card = json.loads((file.metadata() or {})[_CARD])
            if card["format"] != FORMAT_VERSION:
                raise InputError(f"{path} has format {card['format']!r}; this version reads {FORMAT_VERSION}")
            tensors = {name: file.get_tensor(name) for name in ("impacts", "latents", "rows", "ids", "id_ends")}
        parts = (tensors["impacts"].astype(np.int64), tensors["latents"], tensors["rows"])
        matrix = csr_array(parts, shape=(card["documents"], card["width"]))
        matrix.check_format(full_check=True)
        ends, joined = tensors["id_ends"].tolist(), tensors["ids"].tobytes()
        if len(ends) != card["documents"] or (ends[-1] if ends else 0) != len(joined):
            raise ValueError("the ids do not match the matrix")
        docids = [joined[start:end].decode() for start, end in pairwise([0, *ends])]
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path} is cut off, damaged or not ours ({error}); index again") from error
    return card, docids, matrix


def _refuse_options(options: Mapping[str, Any]) -> None:
    if options:
        raise InputError(f"the memory engine has no option {next(iter(options))!r}")
