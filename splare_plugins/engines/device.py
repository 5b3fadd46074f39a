"""The exact product on an accelerator, under the memory engine."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import torch
from scipy.sparse import csr_array

from splare_plugins.errors import InputError

# Scores computed at a time: at most about half a gigabyte with their keys, whatever the number of documents.
_SCORES_AT_ONCE = 1 << 24
_QUERIES_AT_ONCE = 256
# Places in the matrix are 32-bit numbers, so a block of documents has fewer impacts than that.
_IMPACTS_AT_ONCE = 1 << 30
# Sums of whole numbers below these are exact, in whatever order they are added.
_EXACT = {torch.float32: 1 << 24, torch.float64: 1 << 53}


def find_device(name: str | torch.device) -> torch.device | None:
    """The device to search on; ``None`` where the processor does it without torch.

    Args:
        name: ``"cpu"``, ``"auto"`` (cuda where there is one, else the processor), or a device of torch.

    Raises:
        InputError: if it cannot be used here.
    """
    if name == "auto":
        return torch.device("cuda") if torch.cuda.is_available() else None
    if name == "cpu":
        return None
    try:
        device = torch.device(name)
        one = csr_array(np.ones((1, 1), dtype=np.int32))
        next(DeviceProduct(one, device).best(one, 1))
    except (RuntimeError, AssertionError, TypeError, NotImplementedError) as error:
        raise InputError(f"the memory engine cannot search on the device {name!s} here; try auto or cpu") from error
    return device


class DeviceProduct:
    """Integer dot products of queries with all documents, and the best of them.

    Documents stay on the device as a sparse matrix of 8 bytes an impact (3.2 GB for a million documents of 400), and
    a search takes at most about 0.6 GB more beside ``4 * width`` bytes for each query of a batch of 256.

    Products are summed in float32 where no sum can reach 2**24, as for 40 latents of a query at most, else in float64;
    TensorFloat-32, which would round them, is not used by products of sparse matrices.

    Args:
        documents: impacts, shape ``(documents, width)``.
        device: of torch.

    Raises:
        InputError: if the device has too little memory.
    """

    def __init__(self, documents: csr_array, device: torch.device) -> None:
        self._device = device
        self._count, self._width = documents.shape
        self._largest = int(documents.data.max(initial=0))
        # A key is a score with the document's number below it, the smaller numbers first.
        self._bits = max(1, int(self._count).bit_length())
        try:
            self._blocks = [self._block(documents, *bounds) for bounds in _bounds(documents.indptr)]
        except torch.OutOfMemoryError as error:
            raise InputError(
                f"an index of {8 * documents.nnz / 1e9:.1f} GB does not fit into the memory of {device}; search with "
                "device='cpu'"
            ) from error

    @torch.inference_mode()
    def best(self, queries: csr_array, k: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """For each query the numbers of its best ``k`` documents, and their scores, int64.

        Equal scores come in the order of the documents; a score of 0 is no hit.

        Raises:
            InputError: if a score could be too large for a key.
        """
        for start in range(0, queries.shape[0], _QUERIES_AT_ONCE):
            keys = self._best(queries[start : start + _QUERIES_AT_ONCE], k).cpu().numpy()
            scores, documents = keys >> self._bits, self._lowest - (keys & self._lowest)
            for own, numbers in zip(scores, documents, strict=True):
                yield numbers[own > 0], own[own > 0]

    def row(self, document: int) -> tuple[np.ndarray, np.ndarray]:
        """Latents and impacts of a document."""
        for block in self._blocks:
            if document < len(block):
                start, end = block.crow_indices()[document : document + 2].tolist()
                latents, impacts = block.col_indices()[start:end], block.values()[start:end]
                return latents.cpu().numpy(), impacts.cpu().numpy().astype(np.int64)
            document -= len(block)
        raise IndexError(document)

    def frequency(self, latent: int) -> int:
        """How many documents have a latent."""
        return sum(int((block.col_indices() == latent).sum()) for block in self._blocks)

    def size(self) -> int:
        """Impacts of all documents."""
        return sum(block.values().numel() for block in self._blocks)

    @property
    def _lowest(self) -> int:
        return (1 << self._bits) - 1

    def _best(self, queries: csr_array, k: int) -> torch.Tensor:
        """The largest keys of each query, largest first, shape ``[queries, at most k]``."""
        bound = int(queries.sum(axis=1, dtype=np.int64).max(initial=0)) * self._largest
        dtype = next((dtype for dtype, limit in _EXACT.items() if bound < limit), None)
        if dtype is None or bound.bit_length() + self._bits > 63:
            raise InputError(
                f"scores of up to {bound} over {self._count} documents are too large to be ranked on {self._device}; "
                "search with device='cpu'"
            )
        # Sent as they are stored and spread out over there.
        given = queries.tocoo()
        places = torch.from_numpy(np.stack([given.col, given.row]).astype(np.int64)).to(self._device)
        values = torch.from_numpy(given.data.astype(np.int64)).to(self._device, dtype)
        dense = torch.zeros(self._width, queries.shape[0], dtype=dtype, device=self._device)
        dense.index_put_((places[0], places[1]), values, accumulate=True)
        best = torch.empty(queries.shape[0], 0, dtype=torch.int64, device=self._device)
        first = 0
        for block in self._blocks:
            scores = self._product(block, dense).T.contiguous()
            keys = (scores.long() << self._bits) + self._numbers(first, len(block))
            best = torch.cat([best, keys.topk(min(k, len(block)), dim=1).values], dim=1)
            best = best.topk(min(k, best.shape[1]), dim=1).values
            first += len(block)
        return best

    @staticmethod
    def _product(block: torch.Tensor, dense: torch.Tensor) -> torch.Tensor:
        if block.dtype == dense.dtype:
            return block @ dense
        return _sparse(block.crow_indices(), block.col_indices(), block.values().to(dense.dtype), block.shape) @ dense

    def _numbers(self, first: int, count: int) -> torch.Tensor:
        return self._lowest - torch.arange(first, first + count, device=self._device)

    def _block(self, documents: csr_array, start: int, end: int) -> torch.Tensor:
        begin, stop = documents.indptr[start], documents.indptr[end]
        return _sparse(
            torch.from_numpy((documents.indptr[start : end + 1] - begin).astype(np.int32)).to(self._device),
            torch.from_numpy(documents.indices[begin:stop].astype(np.int32)).to(self._device),
            torch.from_numpy(documents.data[begin:stop].astype(np.float32)).to(self._device),
            (end - start, self._width),
        )


def _bounds(ends: np.ndarray) -> Iterator[tuple[int, int]]:
    """First and last + 1 document of each block."""
    most, start = max(1, _SCORES_AT_ONCE // _QUERIES_AT_ONCE), 0
    while start < len(ends) - 1:
        end = int(np.searchsorted(ends, ends[start] + _IMPACTS_AT_ONCE, side="right")) - 1
        end = max(start + 1, min(end, start + most, len(ends) - 1))
        yield start, end
        start = end


def _sparse(
    rows: torch.Tensor, columns: torch.Tensor, values: torch.Tensor, shape: tuple[int, int] | torch.Size
) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(rows, columns, values, size=shape, check_invariants=False)
