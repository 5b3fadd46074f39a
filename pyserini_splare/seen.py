"""Which document ids were added before, in eight bytes each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class SeenIds:
    """Remembers the hashes of ids in sorted runs, as a log-structured table does.

    A Python set would take some hundred bytes for each id, which is a gigabyte for ten million documents. Two
    different ids may share a hash, so whoever asks confirms a suspect in another way.
    """

    def __init__(self) -> None:
        self._runs: list[np.ndarray] = []

    def add(self, docids: Sequence[str]) -> list[str]:
        """Remember ``docids``.

        Returns:
            Those of them that stand twice in ``docids`` or were probably added before, in their order.
        """
        hashes = np.fromiter(map(hash, docids), dtype=np.int64, count=len(docids))
        suspect = np.zeros(len(docids), dtype=bool)
        for run in self._runs:
            positions = np.searchsorted(run, hashes)
            positions[positions == len(run)] = 0
            suspect |= run[positions] == hashes
        order = np.argsort(hashes, kind="stable")
        ranked = hashes[order]
        suspect[order[1:]] |= ranked[1:] == ranked[:-1]
        self._push(ranked)
        return [docids[position] for position in np.flatnonzero(suspect).tolist()]

    def _push(self, run: np.ndarray) -> None:
        if not len(run):
            return
        # Runs at least double in length from last to first, so that there are only a few to search.
        while self._runs and len(self._runs[-1]) < 2 * len(run):
            run = np.sort(np.concatenate([self._runs.pop(), run]), kind="stable")
        self._runs.append(run)
