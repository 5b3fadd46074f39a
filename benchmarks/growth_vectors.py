"""Vectors for any number of documents, with the statistics of the built-in model's.

``growth_vectors.npz`` has the impacts of real texts: 1,000 abstracts of SciFact and the 240 paragraphs of XQuAD, and
400 queries of both. A drawn document takes half of its latents from one of them, a quarter from another and a quarter
from all, by how frequent each is; its length is the first one's and its impacts are theirs, a tenth up or down. So
which latents are frequent, which go together, how large impacts are and how many there are stay as they were measured.
A query takes half of its latents from a document's strongest, and half from a real query.

``python benchmarks/growth_vectors.py`` measures anew, in minutes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array, vstack

FILE = Path(__file__).with_suffix(".npz")
DATA = Path(__file__).parents[1] / "examples" / "data"
BATCH = 2000
DOCUMENTS = {"scifact": 1000, "xquad/en": 240}
QUERIES = {"scifact": 200, "xquad/en": 200}


class Vectors:
    """The measured vectors, and draws from them.

    Args:
        seed: of the draws; batch ``n`` of documents depends on it and on ``n`` alone.
    """

    def __init__(self, seed: int = 0) -> None:
        with np.load(FILE) as stored:
            self.documents = _matrix(stored, "documents")
            self.queries = _matrix(stored, "queries")
        self.width = self.documents.shape[1]
        self._seed = seed
        frequency = np.bincount(self.documents.indices, minlength=self.width)
        self._by_frequency = np.cumsum(frequency / frequency.sum())
        strength = np.bincount(self.documents.indices, weights=self.documents.data, minlength=self.width)
        self._mean = np.maximum(1, strength / np.maximum(frequency, 1))

    def batches(self, count: int) -> Iterator[csr_array]:
        """Impacts of ``count`` documents, int32."""
        for number, start in enumerate(range(0, count, BATCH)):
            rng = np.random.default_rng([self._seed, number])
            yield self._draw(rng, min(BATCH, count - start))

    def asked(self, count: int, documents: csr_array) -> csr_array:
        """Impacts of ``count`` queries, int32, for which some of ``documents`` are good answers."""
        rng = np.random.default_rng([self._seed, 1 << 32])
        rows = []
        for real, target in zip(
            rng.integers(0, self.queries.shape[0], count), rng.integers(0, documents.shape[0], count), strict=True
        ):
            query, document = _row(self.queries, real), _row(documents, target)
            size = len(query[0])
            strongest = np.argsort(-document[1], kind="stable")[: 2 * size]
            own = rng.permutation(size)[: size - size // 2]
            shared = rng.permutation(strongest)[: size // 2]
            latents = np.concatenate([query[0][own], document[0][shared]])
            impacts = np.concatenate([query[1][own], query[1][rng.permutation(size)[: len(shared)]]])
            rows.append(_sparse(latents, impacts, self.width))
        return csr_array(vstack(rows, format="csr")).astype(np.int32)

    def _draw(self, rng: np.random.Generator, count: int) -> csr_array:
        first, second = rng.integers(0, self.documents.shape[0], (2, count))
        rows = []
        for one, other in zip(first, second, strict=True):
            latents, impacts = _row(self.documents, one)
            size = len(latents)
            mine = rng.permutation(size)[: size // 2]
            theirs = rng.permutation(self.documents.indptr[other + 1] - self.documents.indptr[other])[: size // 4]
            other_latents, other_impacts = _row(self.documents, other)
            rest = np.searchsorted(self._by_frequency, rng.random(2 * size)).clip(max=self.width - 1)
            drawn = np.concatenate([latents[mine], other_latents[theirs], rest])
            # Each once, the first time it is drawn, until the document is as long as the real one.
            places = np.sort(np.unique(drawn, return_index=True)[1])[:size]
            strength = np.concatenate([impacts[mine], other_impacts[theirs], self._mean[rest]])
            noise = np.exp(rng.normal(0, 0.1, len(places)))
            rows.append((drawn[places], np.clip(np.rint(strength[places] * noise), 1, 255)))
        ends = np.cumsum([0, *(len(row[0]) for row in rows)])
        matrix = csr_array(
            (np.concatenate([row[1] for row in rows]), np.concatenate([row[0] for row in rows]), ends),
            shape=(count, self.width),
        )
        matrix.sort_indices()
        return matrix.astype(np.int32)


def statistics(matrix: csr_array) -> dict[str, float]:
    """What a draw has to keep: length, impacts, and how much of the postings is in the most frequent latents."""
    frequency = np.sort(np.bincount(matrix.indices, minlength=matrix.shape[1]))[::-1]
    share = np.cumsum(frequency) / matrix.nnz
    return {
        "latents a document": matrix.nnz / matrix.shape[0],
        "mean impact": float(matrix.data.mean()),
        "postings in the 100 most frequent latents": float(share[99]),
        "postings in the 1,000 most frequent latents": float(share[999]),
    }


def _row(matrix: csr_array, row: int) -> tuple[np.ndarray, np.ndarray]:
    begin, end = matrix.indptr[row : row + 2]
    return matrix.indices[begin:end], matrix.data[begin:end]


def _sparse(latents: np.ndarray, impacts: np.ndarray, width: int) -> csr_array:
    places = np.unique(latents, return_index=True)[1]
    return csr_array((impacts[places], latents[places], [0, len(places)]), shape=(1, width))


def _matrix(stored: np.lib.npyio.NpzFile, name: str) -> csr_array:
    data = stored[f"{name}_impacts"].astype(np.int32)
    parts = data, stored[f"{name}_latents"].astype(np.int32), stored[f"{name}_rows"]
    return csr_array(parts, shape=(len(parts[2]) - 1, int(stored["width"])))


def main() -> None:
    from itertools import islice

    from splare_plugins.corpus import read_documents, read_queries
    from splare_plugins.model.splare import SplareModel

    model = SplareModel.from_pretrained(device="cpu")
    texts = [each.content for name, n in DOCUMENTS.items() for each in islice(read_documents(DATA / name), n)]
    asked = [each.text for name, n in QUERIES.items() for each in islice(read_queries(DATA / name), n)]
    stored = {"width": np.array(model.config.width)}
    for name, impacts in (
        ("documents", model.quantizer.documents(model.encode_documents(texts)).impacts),
        ("queries", model.quantizer.queries(model.encode_queries(asked)).impacts),
    ):
        stored[f"{name}_impacts"] = impacts.data.astype(np.uint8)
        stored[f"{name}_latents"] = impacts.indices.astype(np.uint16)
        stored[f"{name}_rows"] = impacts.indptr.astype(np.int64)
    np.savez_compressed(FILE, **stored)
    vectors = Vectors()
    drawn = csr_array(vstack(list(vectors.batches(4000)), format="csr"))
    for name, real in statistics(vectors.documents).items():
        print(f"{name:45} measured {real:8.3f}  drawn {statistics(drawn)[name]:8.3f}")


if __name__ == "__main__":
    main()
