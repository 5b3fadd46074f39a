"""What a Lucene index can take: places, document ids (each once), impacts and stored text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from pyserini_splare.lucene import EXACT_FLOAT, ID, is_index
from splare_plugins.engines.checks import check_impacts
from splare_plugins.errors import InputError

# Lucene's limits: bytes of a doc value, and the sum of a document's term frequencies.
LONGEST_ID = 32_766
LARGEST_SUM = 2**31 - 1


def building_place(location: Path, *, overwrite: bool) -> Path:
    """The folder in which an index for ``location`` is built: itself if it holds an index, else one beside it."""
    if is_index(location):
        if overwrite:
            return location
        raise InputError(f"{location} exists already; choose another place, or add --overwrite (overwrite=True)")
    if location.exists() and not (location.is_dir() and not any(location.iterdir())):
        raise InputError(f"{location} exists and is not a Lucene index; remove it or choose another place")
    whole = location.absolute()
    return whole.with_name(f".{whole.name}.unfinished")


def check_documents(docids: Sequence[str], impacts: csr_array, width: int | None) -> None:
    """Raise an ``InputError`` for what breaks the contract of :meth:`IndexWriter.add` or what Lucene cannot take."""
    check_impacts(impacts, width, docids)
    for docid in docids:
        if not isinstance(docid, str) or not docid:
            raise InputError(f"document ids must be non-empty text, not {docid!r}")
        if not docid.isascii() and not _is_text(docid):
            raise InputError(f"document id {docid!r} has a lone surrogate; repair its encoding")
        # A character has up to four bytes; only ids that may be too long are counted.
        if len(docid) > LONGEST_ID // 4 and len(docid.encode()) > LONGEST_ID:
            raise InputError(f"document id {docid[:40]!r}... is longer than the {LONGEST_ID} bytes that Lucene takes")
    largest = int(impacts.data.max(initial=0))
    if largest > EXACT_FLOAT:
        raise InputError(
            f"impacts go up to {largest}, and Lucene computes exactly up to {EXACT_FLOAT}; scale them down"
        )
    sums = impacts.sum(axis=1, dtype=np.int64)
    if sums.max(initial=0) > LARGEST_SUM:
        raise InputError(
            f"the impacts of document {docids[int(np.argmax(sums))]!r} add up to {sums.max()}, and Lucene takes "
            f"up to {LARGEST_SUM} a document; use a smaller scale"
        )


def raw_texts(docids: Sequence[str], documents: Sequence[Mapping[str, Any]]) -> list[str]:
    """Each document with its id as JSON, as Anserini's ``raw`` field holds it.

    Raises:
        InputError: if the numbers of documents and ids differ, or a text is not Unicode.
    """
    if len(documents) != len(docids):
        raise InputError(f"{len(docids)} ids came with {len(documents)} documents; give one for each")
    raws = []
    for docid, document in zip(docids, documents, strict=True):
        raw = json.dumps({ID: docid, **document}, ensure_ascii=False)
        if not _is_text(raw):
            raise InputError(f"document {docid!r} has a lone surrogate in its text; repair its encoding")
        raws.append(raw)
    return raws


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
