"""Writes Lucene indexes of impacts directly, without spelling weights out as repeated words.

Anserini's own route indexes a weight of 87 as 87 occurrences of a token. Lucene can be told the frequency of a
term instead; the postings are the same and so are the scores, for a fraction of the work
(https://github.com/castorini/anserini/issues/1890).
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from pyserini_splare.admission import building_place, check_documents, raw_texts
from pyserini_splare.document import ReusedDocument, impact_analyzer, term_texts
from pyserini_splare.jvm import java_class
from pyserini_splare.lucene import (
    USER_DATA_KEY,
    check_path,
    impact_similarity,
    java_errors,
    lucene,
    open_directory,
)
from pyserini_splare.threads import ThreadClaim
from splare_plugins.config import SplareConfig
from splare_plugins.engines.base import IndexWriter
from splare_plugins.engines.checks import remember
from splare_plugins.errors import InputError

log = logging.getLogger(__name__)


class LuceneWriter(IndexWriter):
    """Builds a Lucene index that Pyserini, Anserini and :class:`LuceneSearcher` search.

    A new index is built beside its place and renamed into it. An existing one is replaced inside its folder by
    one Lucene commit, which is a single rename too: a reader, or a killed run, sees the old index or the new one.
    What a killed run leaves behind is cleared when the next writer opens at the same place.

    Args:
        location: folder of the index.
        config: the model whose impacts will be added; ``None`` for vectors of unknown origin.
        overwrite: replace the Lucene index that stands at ``location``.
        store_text: keep the ``documents`` given to :meth:`add` as JSON, for ``searcher.doc(docid).raw()``.
        store_vectors: keep every document's vector as Lucene term vectors, which feedback needs; the index doubles.
            Pyserini's searcher believes that there are vectors if the first document has one, so
            if that one may be empty, ask for ``store_text`` too.
        optimize: merge everything into one segment at the end, which searches fastest.
        memory_buffer: megabytes of postings kept in Java's memory before they are written to disk.
        store_raw: the former name of ``store_text``.

    Attributes:
        documents: documents added so far.
        empty: those among them without any impact.
        impacts: impacts added so far.

    Raises:
        InputError: if something stands at ``location`` that may not be replaced, or another writer is at work.
        ThreadError: if another thread has a Lucene index open.
    """

    def __init__(
        self,
        location: str | Path,
        config: SplareConfig | None = None,
        *,
        overwrite: bool = False,
        store_text: bool = False,
        store_vectors: bool = False,
        optimize: bool = True,
        memory_buffer: float = 64.0,
        store_raw: bool = False,
    ) -> None:
        self.location = Path(location)
        self.config = config
        self.documents = self.empty = self.impacts = 0
        self._store_text = store_text or store_raw
        self._optimize = optimize
        self._folder = building_place(self.location, overwrite=overwrite)
        self._writer: Any = None
        self._claim = ThreadClaim(self, f"the Lucene writer of {self.location}")
        try:
            self._open(memory_buffer)
            self._document = ReusedDocument(store_vectors=store_vectors)
        except BaseException:
            self._claim.release()
            raise

    def add(
        self, docids: Sequence[str], impacts: csr_array, documents: Sequence[Mapping[str, Any]] | None = None
    ) -> None:
        """Append documents; nothing of the batch is added if one of them is refused.

        Raises:
            InputError: for an id that is empty, not text, too long or was added before, for impacts that are not
                integers >= 1 or have another shape, and if the disk is full.
        """
        self._check()
        check_documents(docids, impacts, None if self.config is None else self.config.width)
        keep = self._store_text and documents is not None
        raws: Sequence[str | None] = raw_texts(docids, documents or ()) if keep else [None] * len(docids)
        if self.known_ids is not None:
            remember(docids, self.known_ids)
        texts = term_texts(impacts)
        with self._errors():
            for docid, text, raw in zip(docids, texts, raws, strict=True):
                self._writer.addDocument(self._document.fill(docid, text, raw))
        self.documents += len(docids)
        self.empty += int((np.diff(impacts.indptr) == 0).sum())
        self.impacts += impacts.nnz

    def commit(self) -> None:
        """Publish the index; a failure leaves what stood there before.

        Raises:
            InputError: if the disk is full, or the place was taken meanwhile.
        """
        self._check()
        try:
            with self._errors():
                if self._optimize:
                    self._writer.forceMerge(1)
                self._writer.setLiveCommitData(self._user_data().entrySet())
                self._writer.commit()
                self._writer.close()
            if self._folder != self.location:
                self._publish()
        except BaseException:
            self.abort()
            raise
        self._writer = None
        self._claim.release()
        log.debug("%s: %d documents, %d impacts", self.location, self.documents, self.impacts)

    def abort(self) -> None:
        """Throw away what was written; what stood at the location before is untouched."""
        self._claim.check()
        if self._writer is None:
            return
        try:
            with self._errors():
                self._writer.rollback()
        except InputError as error:
            # Happens after a failure that was reported already, and what it leaves is cleared the next time.
            log.warning("%s", error)
        finally:
            self._writer = None
            self._claim.release()
            if self._folder != self.location:
                shutil.rmtree(self._folder, ignore_errors=True)

    def _open(self, memory_buffer: float) -> None:
        config = lucene("index.IndexWriterConfig")(impact_analyzer())
        config.setOpenMode(lucene("index.IndexWriterConfig$OpenMode").CREATE)
        config.setSimilarity(impact_similarity())
        config.setRAMBufferSizeMB(float(memory_buffer))
        config.setUseCompoundFile(False)
        # Neighbours only, so that documents keep the order in which they were added.
        policy = lucene("index.LogByteSizeMergePolicy")()
        policy.setNoCFSRatio(0.0)
        config.setMergePolicy(policy)
        check_path(self._folder)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"no index can be written at {self.location} ({error.strerror}); choose another place"
            ) from error
        if not os.access(self._folder, os.W_OK | os.X_OK):
            raise InputError(
                f"no index can be written at {self.location} (Permission denied); choose another place, or change the "
                "permissions of this one"
            )
        with java_errors(
            f"no index can be written at {self.location}",
            "if another program is writing it, wait for that; else choose another place",
        ):
            self._writer = lucene("index.IndexWriter")(open_directory(self._folder, mapped=False), config)

    def _user_data(self) -> Any:
        identity = {
            "config": None if self.config is None else self.config.to_dict(),
            "documents": self.documents,
            "empty": self.empty,
            "impacts": self.impacts,
            "lucene": str(lucene("util.Version").LATEST.toString()),
        }
        data = java_class("java.util.HashMap")()
        data.put(USER_DATA_KEY, json.dumps(identity))
        return data

    def _publish(self) -> None:
        try:
            # Also replaces an empty folder; a full one, made meanwhile by somebody else, is left alone.
            self._folder.rename(self.location)
        except OSError as error:
            raise InputError(
                f"{self.location} cannot be published ({error.strerror}); choose another place"
            ) from error

    def _check(self) -> None:
        self._claim.check()
        if self._writer is None:
            raise InputError(f"the writer of {self.location} is closed; open a new one")

    def _errors(self) -> Any:
        return java_errors(
            f"the index at {self.location} cannot be written",
            "nothing was changed there, so mend that (a full disk, most often) and start again",
        )
