"""Teachers that score every query with every document of a batch: each is two sets of vectors.

What a teacher says of a query and a document is the dot product of their vectors, dense ones of a bi-encoder or sparse
ones of BM25, so that candidates need not be chosen before training, and every document of a batch is one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from scipy.sparse import csr_array

from splare_plugins.config import SIDES, Side
from splare_plugins.errors import InputError, splare_command
from splare_plugins.machine.files import replacing

Matrix = np.ndarray | csr_array


class TeacherVectors:
    """Vectors of known texts by one teacher.

    Args:
        texts: keys of the texts (:func:`text_key`) by side, in any order.
        vectors: one row a key, shape ``[texts, d]``, by side.
        name: of the teacher, for messages.
    """

    def __init__(self, texts: dict[Side, np.ndarray], vectors: dict[Side, Matrix], *, name: str) -> None:
        order = {side: np.argsort(texts[side], kind="stable") for side in SIDES}
        self.name = name
        self._keys = {side: texts[side][order[side]] for side in SIDES}
        self._vectors = {side: vectors[side][order[side]] for side in SIDES}

    def scores(self, queries: Sequence[str], documents: Sequence[str]) -> np.ndarray:
        """What the teacher says of each query with each document; float32, shape ``[queries, documents]``.

        Raises:
            InputError: for a text that it has no vector of.
        """
        return products(self._rows("query", queries), self._rows("document", documents))

    def places(self, side: Side, texts: Sequence[str]) -> np.ndarray:
        """The row of each text among the vectors of a side, -1 for those that it has none of; int64."""
        keys = np.array([text_key(text) for text in texts], dtype=np.int64)
        held = self._keys[side]
        if not len(held):
            return np.full(len(keys), -1)
        places = np.searchsorted(held, keys).clip(max=len(held) - 1)
        return np.where(held[places] == keys, places, -1)

    def rows(self, side: Side, places: np.ndarray) -> Matrix:
        """The vectors in some rows of a side, float32, shape ``[places, d]``."""
        return self._vectors[side][places].astype(np.float32)

    def _rows(self, side: Side, texts: Sequence[str]) -> Matrix:
        places = self.places(side, texts)
        if (wrong := np.flatnonzero(places < 0)).size:
            raise InputError(
                f"the teacher {self.name} has no vector of the {side} {texts[wrong[0]][:60]!r}; make its vectors from "
                "all data of the run with `splare train embed`"
            )
        return self.rows(side, places)

    def save(self, path: Path) -> None:
        """Write a safetensors file."""
        tensors: dict[str, np.ndarray] = {}
        for side in SIDES:
            vectors = self._vectors[side]
            tensors[f"{side}.keys"] = self._keys[side]
            if isinstance(vectors, np.ndarray):
                tensors[f"{side}.vectors"] = vectors
            else:
                for part in ("data", "indices", "indptr"):
                    tensors[f"{side}.{part}"] = getattr(vectors, part)
                tensors[f"{side}.shape"] = np.array(vectors.shape)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as beside:
            save_file(tensors, beside)

    @classmethod
    def load(cls, path: Path, sources: Sequence[str] = ("DATA",)) -> TeacherVectors:
        """Read what :meth:`save` wrote.

        Args:
            path: of the file.
            sources: what ``splare train embed`` makes it from, for the message.

        Raises:
            InputError: if the file is missing or is something else.
        """
        try:
            tensors = load_file(path)
            keys = {side: tensors[f"{side}.keys"] for side in SIDES}
            return cls(keys, {side: _matrix(tensors, side) for side in SIDES}, name=path.stem)
        except (OSError, SafetensorError, KeyError) as error:
            remove = "remove it and " if path.exists() else ""
            command = splare_command("train", "embed", *sources, "--teacher", "TEACHER", "-o", path)
            raise InputError(f"{path} holds no teacher's vectors ({error}); {remove}make them: {command}") from error


class Teachers:
    """A weighted sum of teachers: each with the factor on its scores."""

    def __init__(self, weighted: Sequence[tuple[float, TeacherVectors]]) -> None:
        self.weighted = tuple(weighted)

    def __call__(self, queries: Sequence[str], documents: Sequence[str]) -> np.ndarray:
        """The sum of their scores; float32, shape ``[queries, documents]``."""
        total = np.zeros((len(queries), len(documents)), dtype=np.float32)
        for weight, teacher in self.weighted:
            total += weight * teacher.scores(queries, documents)
        return total


def products(queries: Matrix, documents: Matrix) -> np.ndarray:
    """The dot product of each query with each document; float32, shape ``[queries, documents]``."""
    found = queries @ documents.T
    table: np.ndarray = (found if isinstance(found, np.ndarray) else found.toarray()).astype(np.float32)
    return table


def text_key(text: str) -> int:
    """A 64-bit hash of a text."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little", signed=True)


def _matrix(tensors: dict[str, np.ndarray], side: Side) -> Matrix:
    if f"{side}.vectors" in tensors:
        return tensors[f"{side}.vectors"]
    parts = [tensors[f"{side}.{part}"] for part in ("data", "indices", "indptr")]
    return csr_array(tuple(parts), shape=tuple(tensors[f"{side}.shape"]))
