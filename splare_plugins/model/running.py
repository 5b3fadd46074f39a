"""Batches through a device, each given to it before the results of the last are waited for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_array, vstack

from splare_plugins.backbone.finite import finite_rows
from splare_plugins.machine import Progress
from splare_plugins.model.batching import start_top_k_rows, to_host

if TYPE_CHECKING:
    from torch import Tensor

# Batches that a device is given before the first of their results is waited for.
_AHEAD = 1


def run_batches(
    batches: Iterable[list[int]],
    weights_of: Callable[[list[int]], Tensor | np.ndarray],
    check: Callable[[np.ndarray, list[int]], None],
    *,
    top_k: int | None,
    width: int,
    on_progress: Progress | None,
) -> csr_array:
    """The largest weights of all texts, in their order; float32, shape ``(texts, width)``.

    Args:
        batches: numbers of the texts of each.
        weights_of: computes a batch, shape ``[texts, width]``.
        check: refuses a batch, told which of its rows are finite.
        top_k: latents kept of a text; ``None`` keeps all.
        width: number of latents.
        on_progress: called with the number of texts just finished.
    """
    rows: list[csr_array] = []
    order: list[int] = []
    started: deque[tuple[list[int], Callable[[], np.ndarray], Callable[[], csr_array]]] = deque()

    def finish() -> None:
        batch, finite, largest = started.popleft()
        check(finite(), batch)
        rows.append(largest())
        order.extend(batch)
        if on_progress is not None:
            on_progress(len(batch))

    for batch in batches:
        weights = weights_of(batch)
        started.append((batch, to_host(finite_rows(weights)), start_top_k_rows(weights, top_k)))
        del weights
        if len(started) > _AHEAD:
            finish()
    while started:
        finish()
    return _in_order(rows, order, width)


def _in_order(rows: list[csr_array], order: list[int], width: int) -> csr_array:
    """The rows of all batches in the order of their texts; one query, which is waited for, is left as it is."""
    if not rows:
        return csr_array(np.empty((0, width), dtype=np.float32))
    if order == list(range(len(order))) and len(rows) == 1:
        return rows[0]
    encoded: csr_array = vstack(rows, format="csr")
    return encoded[np.argsort(order)]
