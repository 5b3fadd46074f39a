"""Terrier, PyTerrier's own engine."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from pyserini_splare.threads import ThreadClaim
from pyterrier_splare.indexes.artifact import SplareIndex
from pyterrier_splare.indexes.folder import FolderSearcher, FolderWriter
from pyterrier_splare.terrier_java import start_terrier
from splare_plugins.config import SplareConfig
from splare_plugins.engines.base import Hits
from splare_plugins.errors import InputError
from splare_plugins.impacts import to_dicts

_KIND = "splare_terrier"
_PROPERTIES = "data.properties"


class TerrierWriter(FolderWriter):
    """Collects documents as JSON lines, which Terrier's own reader of tokenised documents then indexes.

    Args:
        location: folder of the index.
        config: the model whose impacts will be added.
        overwrite: replace the index that stands there.
    """

    kind = _KIND

    def __init__(self, location: str | Path, config: SplareConfig | None = None, *, overwrite: bool = False) -> None:
        start_terrier()
        super().__init__(location, config, overwrite=overwrite)
        self._documents = self.folder / "documents.jsonl"
        self._stream = self._documents.open("w", encoding="utf-8")
        self._longest = 1

    def _add(self, docids: Sequence[str], impacts: csr_array) -> None:
        for docid, tokens in zip(docids, to_dicts(impacts), strict=True):
            json.dump({"docno": docid, "toks": tokens}, self._stream)
            self._stream.write("\n")
        self._longest = max(self._longest, *(len(docid.encode()) for docid in docids), 0)

    def _finish(self) -> dict[str, Any]:
        self._stream.close()
        if self.impacts:
            with _java(self, f"the Terrier index at {self.location} cannot be written"):
                self._index()
        self._documents.unlink()
        return {}

    def _index(self) -> None:
        import pyterrier as pt

        folder = str(self.folder)
        # Terrier cuts longer ids off, so this is the length of the longest.
        indexer = pt.IterDictIndexer(folder, pretokenised=True, meta={"docno": self._longest})
        indexer._setup()
        basic, merger = indexer.indexerAndMergerClasses()
        documents = pt.terrier.J.JsonlPretokenisedIterator(str(self._documents))
        pt.terrier.J.ParallelIndexer.buildParallelTokenised([documents], folder, basic, merger)

    def _abandon(self) -> None:
        self._stream.close()


class TerrierSearcher(FolderSearcher):
    """Exact search with Terrier's weighting model ``Tf``.

    Terrier divides the weights of a query by the largest of them; here the scores are multiplied back, so that they
    are the integer dot products and can be added to others.

    Args:
        location: folder of the index.
    """

    kind = _KIND

    def __init__(self, location: str | Path) -> None:
        super().__init__(location)
        start_terrier()
        self._claim = ThreadClaim(self, f"the Terrier index {location}")
        self._index: Any = None
        self._retrievers: dict[int, Any] = {}
        if self.meta["impacts"]:
            with _java(self, f"the Terrier index {location} cannot be opened"):
                import pyterrier as pt

                reference = pt.IndexRef.of(str(self.location.absolute() / _PROPERTIES))
                self._index = pt.IndexFactory.of(reference)

    def close(self) -> None:
        """Close the index; a second time does nothing."""
        self._claim.check()
        self._retrievers.clear()
        if self._index is not None:
            self._index.close()
            self._index = None
        self._claim.release()

    def _search(self, impacts: csr_array, k: int) -> Sequence[Hits]:
        self._claim.check()
        if self._index is None:
            raise InputError(f"the searcher of {self.location} is closed; open a new one")
        if k not in self._retrievers:
            import pyterrier as pt

            self._retrievers[k] = pt.terrier.Retriever(self._index, wmodel="Tf", num_results=k)
        numbers = [str(number) for number in range(impacts.shape[0])]
        queries = pd.DataFrame({"qid": numbers, "query_toks": to_dicts(impacts)})
        with _java(self, f"the Terrier index {self.location} cannot be searched"):
            found = self._retrievers[k].transform(queries)
        rows = found["qid"].to_numpy().astype(np.int64)
        largest = np.array([impacts.data[start:end].max() for start, end in pairwise(impacts.indptr.tolist())])
        # Doubles in Terrier, so that rounding brings back the very integers.
        scores = np.rint(found["score"].to_numpy(dtype=np.float64) * largest[rows])
        docnos = found["docno"].to_numpy(dtype=object)
        bounds = np.searchsorted(rows, np.arange(len(numbers) + 1)).tolist()
        return [Hits(docnos[start:end].tolist(), scores[start:end]) for start, end in pairwise(bounds)]


class TerrierEngine:
    """The engine ``terrier``."""

    name = "terrier"

    def writer(
        self, location: str, config: SplareConfig | None, *, overwrite: bool = False, **options: Any
    ) -> TerrierWriter:
        """Open a :class:`TerrierWriter`, which documents the ``options``."""
        return TerrierWriter(location, config, overwrite=overwrite, **options)

    def searcher(self, location: str, **options: Any) -> TerrierSearcher:
        """Open a :class:`TerrierSearcher`; there are no options."""
        return TerrierSearcher(location, **options)


class TerrierSplareIndex(SplareIndex):
    """A Terrier index of impacts; exact, starts Java, and holds docnos of any length."""

    ARTIFACT_FORMAT = _KIND
    engine = TerrierEngine

    def native(self) -> Any:
        """The same folder as a ``pt.terrier.TerrierIndex``; ``Tf`` scores are ours over a query's largest weight."""
        start_terrier()
        import pyterrier as pt

        return pt.terrier.TerrierIndex(str(self.require_built()))


@contextmanager
def _java(owner: object, trouble: str) -> Iterator[None]:
    """Turn a Java exception into one sentence."""
    from jnius import JavaException

    try:
        yield
    except JavaException as error:
        raise InputError(
            f"{trouble} ({error.classname}: {error.innermessage}); if it is damaged, make it again"
        ) from error
