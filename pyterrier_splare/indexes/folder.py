"""What the writers and searchers of all back ends here have in common: an index is one folder.

The folder holds the back end's own files, in the back end's own layout, and PyTerrier's ``pt_meta.json`` with the
model's identity and the size of every file.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from scipy.sparse import csr_array, vstack

from pyterrier_splare.indexes.place import META_FILE, OURS, BuildingPlace, file_sizes, read_meta
from pyterrier_splare.indexes.store import Store
from splare_plugins.config import SplareConfig
from splare_plugins.engines.base import Hits, IndexWriter, Searcher
from splare_plugins.engines.checks import check_batch, check_impacts, check_k
from splare_plugins.errors import InputError
from splare_plugins.impacts import to_dicts
from splare_plugins.steering import Weights, steer

PACKAGE_HINT = "splare-plugins[pyterrier]"
META_VERSION = 1


class FolderWriter(IndexWriter):
    """Builds an index in a folder beside its place and renames it there when it is complete.

    A back end implements :meth:`_add` and :meth:`_finish`, which write into :attr:`folder`.

    Args:
        location: folder of the index.
        config: the model whose impacts will be added; ``None`` for vectors of unknown origin.
        overwrite: replace the index that stands at ``location``.

    Attributes:
        folder: where files are written until the index is complete.
        documents: documents added so far.
        empty: those among them without any impact.
        impacts: impacts added so far.
        width: number of latents.

    Raises:
        InputError: if something stands at ``location`` that may not be replaced.
    """

    kind: ClassVar[str]
    largest_impact: ClassVar[int] = 2**31 - 1
    # What other packages look for in pt_meta.json.
    extra_meta: ClassVar[Mapping[str, str]] = {}

    def __init__(self, location: str | Path, config: SplareConfig | None = None, *, overwrite: bool = False) -> None:
        self.location = Path(location)
        self.config = config
        self.documents = self.empty = self.impacts = 0
        self.width = config.width if config else 0
        self._place = BuildingPlace(self.location, overwrite=overwrite)
        self.folder = self._place.folder
        self._open = True

    def add(
        self,
        docids: Sequence[str],
        impacts: csr_array,
        documents: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        """See :meth:`IndexWriter.add`; stored fields (``documents``) are not kept."""
        self._require_open()
        for docid in docids:
            self._check_docid(docid)
        largest = int(impacts.data.max(initial=0))
        if largest > self.largest_impact:
            raise InputError(
                f"impacts go up to {largest}, and this index holds at most {self.largest_impact}; scale them down"
            )
        check_batch(docids, impacts, self.known_ids, self.config.width if self.config else None)
        impacts = impacts.astype(np.int32)
        impacts.sort_indices()
        with _write_errors(self.location):
            self._add(docids, impacts)
        self.width = max(self.width, impacts.shape[1])
        self.documents += len(docids)
        self.empty += int((np.diff(impacts.indptr) == 0).sum())
        self.impacts += impacts.nnz

    def commit(self) -> None:
        """Publish the index; a failure leaves what stood there before."""
        self._require_open()
        try:
            with _write_errors(self.location):
                facts = self._finish()
                self._write_meta(facts)
            self._place.publish()
        except BaseException:
            self.abort()
            raise
        self._open = False

    def abort(self) -> None:
        """Throw away what was written; what stood at the location before is untouched."""
        if self._open:
            self._open = False
            try:
                self._abandon()
            finally:
                self._place.discard()

    @abstractmethod
    def _add(self, docids: Sequence[str], impacts: csr_array) -> None:
        """Take documents that passed all checks; impacts are int32 with sorted column ids."""

    @abstractmethod
    def _finish(self) -> dict[str, Any]:
        """Complete the files; what is returned is kept in the metadata, for the searcher."""

    def _abandon(self) -> None:
        """Release what a back end holds, after a failure."""

    def _check_docid(self, docid: object) -> None:
        """Refuse an id that the back end cannot hold."""
        if not isinstance(docid, str):
            raise InputError(f"the docno {docid!r} is not a string; turn docnos into strings first")
        if not docid.isascii():
            try:
                docid.encode()
            except UnicodeEncodeError as error:
                raise InputError(f"the docno {docid!r} has a lone surrogate; repair its encoding") from error

    def _write_meta(self, facts: dict[str, Any]) -> None:
        ours = {
            "version": META_VERSION,
            "config": self.config.to_dict() if self.config else None,
            "fingerprint": self.config.index_fingerprint() if self.config else None,
            "documents": self.documents,
            "empty": self.empty,
            "impacts": self.impacts,
            "width": self.width,
            **facts,
            "files": file_sizes(self.folder),
        }
        meta = {
            "type": "sparse_index",
            "format": self.kind,
            "package_hint": PACKAGE_HINT,
            **self.extra_meta,
            OURS: ours,
        }
        text = json.dumps(meta, indent=2, ensure_ascii=False) + "\n"
        (self.folder / META_FILE).write_text(text, encoding="utf-8")

    def _require_open(self) -> None:
        if not self._open:
            raise InputError(f"the writer of {self.location} is closed; open a new one")


class FolderSearcher(Searcher):
    """Searches an index folder; a back end implements :meth:`_search`.

    Args:
        location: folder of the index.

    Attributes:
        config: the model that made the index; ``None`` for vectors of unknown origin.
        num_docs: documents in the index.
        meta: everything the writer noted.

    Raises:
        InputError: if there is no index of this kind, or it is damaged.
    """

    kind: ClassVar[str]

    def __init__(self, location: str | Path) -> None:
        self.location = Path(location)
        self.meta = read_meta(self.location, self.kind)
        self._open = True
        config = self.meta["config"]
        self.config = SplareConfig.from_dict(config) if config else None
        self.num_docs = int(self.meta["documents"])

    def search(self, impacts: csr_array, k: int, *, weights: Weights | None = None) -> list[Hits]:
        """See :meth:`Searcher.search`."""
        if not self._open:
            raise InputError(f"the searcher of {self.location} is closed; open a new one")
        check_k(k)
        check_impacts(impacts, self.config.width if self.config else None)
        impacts = steer(impacts, weights)
        answers = [Hits([], np.zeros(0)) for _ in range(impacts.shape[0])]
        asked = np.flatnonzero(np.diff(impacts.indptr)).tolist()
        if asked and self.meta["impacts"]:
            found = self._search(impacts[asked] if len(asked) < len(answers) else impacts, min(k, self.num_docs))
            for row, hits in zip(asked, found, strict=True):
                answers[row] = hits
        return answers

    def document(self, docid: str) -> str | None:
        """See :meth:`Searcher.document`; an index keeps texts if ``indexer(store_text=True)`` built it."""
        found = Store(self.location).document(docid)
        return json.dumps(found) if found and "text" in found else None

    def documents(self) -> Iterator[tuple[str, str]] | None:
        """See :meth:`Searcher.documents`."""
        store = Store(self.location)
        if "text" not in store.fields:
            return None
        return ((docno, json.dumps(texts)) for docno, texts in store.all_texts())

    def num_impacts(self) -> int:
        """See :meth:`Searcher.num_impacts`."""
        return int(self.meta["impacts"])

    def vector(self, docid: str) -> dict[str, int] | None:
        """See :meth:`Searcher.vector`; an index keeps them if ``indexer(store_vectors=True)`` built it."""
        width = self.config.width if self.config else self.meta["width"]
        found = Store(self.location).vector(docid, width)
        return None if found is None else to_dicts(found)[0]

    def close(self) -> None:
        """See :meth:`Searcher.close`; a second time does nothing."""
        self._open = False

    @abstractmethod
    def _search(self, impacts: csr_array, k: int) -> Sequence[Hits]:
        """Answers to queries that all have an impact, from an index that has some; ``k`` is at most ``num_docs``."""


def hits_by_row(count: int, rows: np.ndarray, docids: np.ndarray, scores: np.ndarray) -> list[Hits]:
    """Answers to ``count`` queries out of one list of hits, each with the number of its query, in ascending order."""
    bounds = np.searchsorted(rows, np.arange(count + 1)).tolist()
    return [Hits(docids[start:end].tolist(), scores[start:end]) for start, end in pairwise(bounds)]


def stacked(batches: Sequence[csr_array], width: int) -> csr_array:
    """One matrix of ``width`` columns out of several that may have fewer."""
    wide = [csr_array((batch.data, batch.indices, batch.indptr), shape=(batch.shape[0], width)) for batch in batches]
    return csr_array(vstack(wide))


@contextmanager
def _write_errors(location: Path) -> Iterator[None]:
    """Turn what the operating system says while an index is written into one sentence."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"the index at {location} cannot be written: {error.strerror or error}; make room or choose another "
            "place, and run again"
        ) from error
