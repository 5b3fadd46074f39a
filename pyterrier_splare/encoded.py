"""Encode once, index many times: a folder of encoded shards as documents of a pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyterrier as pt
from scipy.sparse import csr_array

from pyterrier_splare.identity import Latents, Origin
from splare_plugins.config import SplareConfig
from splare_plugins.corpus import EncodedFolder
from splare_plugins.corpus.encoded import join_batches
from splare_plugins.errors import InputError
from splare_plugins.impacts import latent_term, to_dicts
from splare_plugins.machine.places import find_place

if TYPE_CHECKING:
    import pandas as pd


class EncodedDocuments(pt.Transformer):
    """The documents of a folder that ``splare encode`` made; neither a model nor torch is loaded.

    Iterating gives ``{"docno": ..., "toks": ...}`` in the order of the corpus, from disk and in bounded memory, for
    the ``index`` method of any indexer. As a transformer it adds ``toks`` to documents or results by their
    ``docno``, as feedback needs them; the first use reads all vectors into memory.

    .. code-block:: python

        documents = Splare.from_encoded("shards")
        for index in (SplareIndex.pisa("index.pisa"), SplareIndex.memory("index.memory")):
            index.indexer().index(documents)

    Args:
        folder: holds all shards of a corpus; or the address of such a one, as ``splare encode`` takes it.

    Raises:
        InputError: if it is not an encoded corpus, or shards are missing.
    """

    schematic: ClassVar = {"label": "SPLARE toks loader"}

    def __init__(self, folder: str | Path) -> None:
        self.folder = find_place(folder)
        self._encoded = EncodedFolder(self.folder)

    @property
    def config(self) -> SplareConfig:
        """The model that encoded them."""
        return self._encoded.config

    def __len__(self) -> int:
        return len(self._encoded)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for batch in self._encoded.batches():
            for docno, latents in zip(batch.docids, self._latents(batch.impacts), strict=True):
                yield {"docno": docno, "toks": latents}

    def frequent(self, max_share: float = 0.1) -> frozenset[str]:
        """Latents in more than this share of the documents, which tell feedback little about relevance."""
        counts = np.zeros(self.config.width, dtype=np.int64)
        for batch in self._encoded.batches():
            counts += np.bincount(batch.impacts.indices, minlength=len(counts))
        return frozenset(map(latent_term, np.flatnonzero(counts > max_share * len(self)).tolist()))

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Add ``toks``.

        Raises:
            InputError: for a docno that is not in the folder.
        """
        pt.validate.columns(inp, includes=["docno"], context=self)
        if not len(inp):
            return inp.assign(toks=[])
        rows, impacts = self._vectors
        docnos = inp["docno"].tolist()
        if missing := next((docno for docno in docnos if docno not in rows), None):
            raise InputError(f"docno {missing!r} is not among the {len(self)} documents of {self.folder}")
        return inp.assign(toks=self._latents(impacts[[rows[docno] for docno in docnos]]))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EncodedDocuments) and self.folder == other.folder

    def __hash__(self) -> int:
        return hash(repr(self))

    def __repr__(self) -> str:
        return f"Splare.from_encoded({str(self.folder)!r})"

    def _latents(self, impacts: csr_array) -> list[Latents]:
        origin = Origin.of(self.config)
        return [Latents(row, origin) for row in to_dicts(impacts)]

    @cached_property
    def _vectors(self) -> tuple[dict[str, int], csr_array]:
        whole = join_batches(list(self._encoded.batches()))
        return {docno: row for row, docno in enumerate(whole.docids)}, whole.impacts
