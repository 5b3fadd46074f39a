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
from pyterrier_splare.indexes.folder import FolderSearcher, FolderWriter, hits_by_row
from pyterrier_splare.terrier_java import start_terrier
from splare_plugins.config import SplareConfig
from splare_plugins.engines.base import Hits, PairedEngine
from splare_plugins.errors import InputError
from splare_plugins.impacts import to_dicts

_PROPERTIES = "data.properties"
# What Java's String.trim takes away; a byte order mark goes at the beginning only.
_TRIMMED = "".join(map(chr, range(0x21)))


class TerrierWriter(FolderWriter):
    """Collects documents as JSON lines, which Terrier's own reader of tokenised documents then indexes.

    Args:
        location: folder of the index.
        config: the model whose impacts will be added.
        overwrite: replace the index that stands there.
    """

    kind = "splare_terrier"

    def __init__(self, location: str | Path, config: SplareConfig | None = None, *, overwrite: bool = False) -> None:
        start_terrier()
        super().__init__(location, config, overwrite=overwrite)
        self._documents = self.folder / "documents.jsonl"
        self._stream = self._documents.open("w", encoding="utf-8")
        self._longest = 1

    def _add(self, docids: Sequence[str], impacts: csr_array) -> None:
        for docid, tokens in zip(docids, to_dicts(impacts), strict=True):
            # Not json.dump, which writes each token from Python.
            self._stream.write(json.dumps({"docno": docid, "toks": tokens}) + "\n")
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

    def _check_docid(self, docid: object) -> None:
        super()._check_docid(docid)
        if str(docid) != str(docid).strip(_TRIMMED).removeprefix("\ufeff"):
            raise InputError(f"Terrier would cut white space off the docno {docid!r}; rename the document")

    def _abandon(self) -> None:
        self._stream.close()


class TerrierSearcher(FolderSearcher):
    """Exact search with Terrier's weighting model ``Tf``.

    Terrier divides the weights of a query by the largest of them; here the scores are multiplied back, so that they
    are the integer dot products and can be added to others.

    Args:
        location: folder of the index.
    """

    kind = TerrierWriter.kind

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
        """See :meth:`FolderSearcher.close`."""
        self._claim.check()
        super().close()
        self._retrievers.clear()
        if self._index is not None:
            self._index.close()
            self._index = None
        self._claim.release()

    def _search(self, impacts: csr_array, k: int) -> Sequence[Hits]:
        self._claim.check()
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
        return hits_by_row(len(numbers), rows, found["docno"].to_numpy(dtype=object), scores)


class TerrierEngine(PairedEngine):
    """The engine ``terrier``."""

    name = "terrier"
    writer_class = TerrierWriter
    searcher_class = TerrierSearcher


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
