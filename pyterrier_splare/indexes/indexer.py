"""Documents with ``toks`` into an index, whatever the back end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar

import pandas as pd
import pyterrier as pt
from more_itertools import chunked
from scipy.sparse import csr_array

from pyterrier_splare.columns import require_records, to_impacts
from pyterrier_splare.encoded import EncodedDocuments
from pyterrier_splare.identity import require_same_model
from pyterrier_splare.indexes.folder import FolderWriter
from pyterrier_splare.indexes.store import StoreWriter
from splare_plugins.config import SplareConfig
from splare_plugins.corpus import EncodedBatch, EncodedFolder
from splare_plugins.engines.base import Engine
from splare_plugins.errors import InputError


class Batch(NamedTuple):
    """Documents on their way into an index."""

    docnos: Sequence[str]
    impacts: csr_array
    fields: Sequence[Mapping[str, Any]]
    """All else that came with them."""


class Target(Protocol):
    """What the indexer asks of an index: :class:`pyterrier_splare.SplareIndex`.

    Attributes:
        path: its folder.
        named_model: the model that was named for it.
        engine: of its back end.
    """

    path: Any
    named_model: SplareConfig | None
    engine: ClassVar[type[Engine]]

    def close(self) -> None:
        """Close what is open."""
        ...


AnIndex = TypeVar("AnIndex", bound=Target)


class SplareIndexer(pt.Indexer, Generic[AnIndex]):
    """Made by ``index.indexer()``.

    The index appears when all documents are in it; an error, an interrupt or a killed process leaves what stood at
    its path before.

    Args:
        index: the index to build.
        overwrite: replace the index that stands there.
        batch_size: documents handed to the back end together.
        store_text: keep all columns with texts, for ``index.text_loader()``.
        store_vectors: keep the vectors, for ``vec_loader()``, ``scorer()`` and ``get_corpus_iter()`` of the index.
        verbose: show a progress bar.
        options: those of the back end's writer.

    Raises:
        InputError: for a batch size below 1.
    """

    schematic: ClassVar = {"label": "SPLARE index"}

    def __init__(
        self,
        index: AnIndex,
        *,
        overwrite: bool = False,
        batch_size: int = 1000,
        store_text: bool = False,
        store_vectors: bool = False,
        verbose: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        if batch_size < 1:
            raise InputError(f"batch_size must be at least 1, not {batch_size}")
        self._index = index
        self.overwrite = overwrite
        self.batch_size = batch_size
        self.store_text = store_text
        self.store_vectors = store_vectors
        self.verbose = verbose
        self.options = dict(options or {})

    def index_inputs(self) -> list[list[str]]:
        """Columns that are indexed."""
        return [["docno", "toks"]]

    def index(self, inp: Any) -> AnIndex:
        """Build the index.

        Args:
            inp: documents as a frame, as a stream of ``{"docno": ..., "toks": ...}``, as an encoded corpus
                (``EncodedFolder``, ``Splare.from_encoded``, or the path of its folder), or as a stream of
                ``EncodedBatch``.

        Returns:
            The index that this indexer was made from.

        Raises:
            InputError: for an empty corpus, a docno that comes twice or is not a string, or a weight that is not an
                impact.
            IdentityError: for documents of another model than that of the index.
        """
        if isinstance(inp, str | Path | EncodedDocuments):
            inp = EncodedFolder(inp.folder if isinstance(inp, EncodedDocuments) else inp)
        config, batches = self._documents(inp)
        first = next(batches, None)
        if first is None:
            raise InputError(f"there is no document to index into {self._index.path}; check the corpus")
        self._index.close()
        writer = self._index.engine().writer(str(self._index.path), config, overwrite=self.overwrite, **self.options)
        with writer, pt.tqdm(desc=repr(self._index), unit="d", disable=not self.verbose) as bar:
            assert isinstance(writer, FolderWriter)
            if isinstance(inp, EncodedFolder):
                writer.trust_ids()
            store = StoreWriter(writer.folder, texts=self.store_text, vectors=self.store_vectors)
            for batch in chain([first], batches):
                writer.add(batch.docnos, batch.impacts)
                if self.store_text or self.store_vectors:
                    store.add(*batch)
                bar.update(len(batch.docnos))
            store.close()
        return self._index

    def _documents(self, inp: Any) -> tuple[SplareConfig | None, Iterator[Batch]]:
        """The model, and the documents in batches."""
        # What to compare with is the model that was named, not that of an index which is to be replaced.
        config = self._index.named_model
        if isinstance(inp, pd.DataFrame):
            pt.validate.document_frame(inp, extra_columns=["toks"], context=self)
            rows = zip(*(inp[name].tolist() for name in inp), strict=True)
            return config, self._from_records((dict(zip(inp, row, strict=True)) for row in rows), config)
        if isinstance(inp, EncodedFolder):
            if config is not None:
                config.require_same_index(inp.config, f"the encoded corpus {inp.path}")
            return inp.config, _from_encoded(inp.batches())
        stream = iter(inp)
        head = list(islice(stream, 1))
        if not head:
            return config, iter(())
        whole = chain(head, stream)
        if isinstance(head[0], EncodedBatch):
            return config, _from_encoded(whole)
        whole = pt.utils.peekable(whole)
        require_records(whole)
        pt.validate.columns_iter(whole, includes=["docno", "toks"], context=self)
        return config, self._from_records(whole, config)

    def _from_records(self, records: Iterable[Mapping[str, Any]], config: SplareConfig | None) -> Iterator[Batch]:
        width, done = config.width if config else None, 0
        for batch in chunked(records, self.batch_size):
            for number, document in enumerate(batch, start=done + 1):
                if missing := {"docno", "toks"} - document.keys():
                    raise InputError(
                        f"document {number} has no {missing.pop()!r}; every document needs docno and toks"
                    )
            docnos, cells = ([document[name] for document in batch] for name in ("docno", "toks"))
            name = partial(_name, docnos)
            require_same_model(cells, config, f"the index at {self._index.path}", name)
            fields = [{key: document[key] for key in document if key not in ("docno", "toks")} for document in batch]
            yield Batch(docnos, to_impacts(cells, width, name), fields)
            done += len(batch)

    def __repr__(self) -> str:
        return f"{self._index!r}.indexer()"


def _name(docnos: Sequence[Any], row: int) -> str:
    return f"document {docnos[row]!r}"


def _from_encoded(batches: Iterable[EncodedBatch]) -> Iterator[Batch]:
    return (Batch(batch.docids, batch.impacts, batch.documents or [{}] * len(batch)) for batch in batches)
