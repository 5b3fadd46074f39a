"""What trainings of one model have in common, on disk: made once, found by the next run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array, load_npz, save_npz

from splare_plugins.machine.files import replacing


class Store:
    """Arrays in a folder, by names that say what they are made of.

    Args:
        folder: that keeps them; ``None`` keeps nothing.
    """

    def __init__(self, folder: str | None) -> None:
        self._folder = None if folder is None else Path(folder)

    def array(self, name: str, make: Callable[[], np.ndarray]) -> np.ndarray:
        """The array of that name, made if it is not there."""
        if self._folder is None:
            return make()
        path = self._folder / f"{name}.npy"
        if not path.is_file():
            with replacing(path) as beside, beside.open("wb") as stream:
                np.save(stream, make())
        return np.load(path)

    def matrix(self, name: str, make: Callable[[], csr_array]) -> csr_array:
        """Likewise a sparse matrix."""
        if self._folder is None:
            return make()
        path = self._folder / f"{name}.npz"
        if not path.is_file():
            with replacing(path) as beside, beside.open("wb") as stream:
                save_npz(stream, make())
        return csr_array(load_npz(path))
