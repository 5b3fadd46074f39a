"""Checks that every engine makes before it takes a batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_array

from splare_plugins.config import check_count
from splare_plugins.errors import InputError
from splare_plugins.machine.ids import DistinctIds


def check_batch(
    docids: Sequence[str], impacts: csr_array, known: DistinctIds | None, width: int | None = None
) -> None:
    """Refuse a batch that breaks the contract of :meth:`IndexWriter.add`; remember its ids in ``known``.

    Nothing is added to ``known`` if the batch is refused.

    Args:
        docids: ids, one per row.
        impacts: int32, shape ``(len(docids), width)``.
        known: ids of the batches before; ``None`` if somebody else looks for ids that come twice.
        width: number of latents, where it is known.

    Raises:
        InputError: naming the document.
    """
    check_impacts(impacts, width, docids)
    if not all(docids):
        raise InputError("a document without an id cannot be indexed; give each one an id")
    if known is not None:
        remember(docids, known)


def remember(docids: Sequence[str], known: DistinctIds) -> None:
    """Add ids to those that are known, all or none.

    Raises:
        InputError: naming the first that came before.
    """
    if again := known.repeated(docids):
        raise InputError(f"the document {docids[again[0]]!r} was added before; ids must be unique")
    known.add(docids)


def check_impacts(impacts: csr_array, width: int | None = None, docids: Sequence[str] | None = None) -> None:
    """Refuse a batch of queries or documents that are not integers >= 1 over ``width`` latents.

    Args:
        impacts: of the batch.
        width: number of latents, where it is known.
        docids: ids of the rows, where they have any; there must be one for each.

    Raises:
        InputError: saying what is wrong with them.
    """
    if docids is not None and len(docids) != impacts.shape[0]:
        raise InputError(f"{len(docids)} ids came with {impacts.shape[0]} rows of impacts; give one id for each row")
    if not np.issubdtype(impacts.dtype, np.integer):
        raise InputError(f"impacts must be integers, not {impacts.dtype}; quantise the weights first")
    check_width(impacts, width)
    if impacts.nnz and int(impacts.data.min()) < 1:
        row = int(np.searchsorted(impacts.indptr, int(impacts.data.argmin()), side="right")) - 1
        whose = f"row {row}" if docids is None else f"the document {docids[row]!r}"
        raise InputError(f"{whose} has the impact {int(impacts.data.min())}; impacts are integers >= 1")


def check_width(vectors: csr_array, width: int | None) -> None:
    """Refuse vectors over another number of latents than the ``width`` of the index, where that is known.

    Raises:
        InputError: naming both numbers.
    """
    if width is not None and vectors.shape[1] != width:
        raise InputError(
            f"these impacts have {vectors.shape[1]} latents, but the index has {width}; use the same model"
        )


def check_k(k: int) -> None:
    """Refuse a number of hits that is not an integer from 1.

    Raises:
        InputError: saying what it is.
    """
    check_count(k, "the number of hits")
