"""Documents after encoding: ids, impacts, and what happened to each on the way."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array, vstack


@dataclass(frozen=True, kw_only=True)
class EncodedBatch:
    """A stretch of an encoded corpus, in corpus order: what parts hold and engines are given.

    It is made of an encoder's window, which has float weights of items of any type, and of what the quantiser makes of
    these for either side, which has no ids.

    Attributes:
        docids: one id a row.
        impacts: int32, shape ``(len(docids), width)``, values 1..255.
        truncated: which texts were longer than the model's limit; bool.
        clipped: weights of each document above the top of the quantiser's scale; int32.
        dropped: weights of each document that rounded to 0; int32.
        documents: fields of each document (title and text), if they are to be stored.
    """

    docids: list[str]
    impacts: csr_array
    truncated: np.ndarray
    clipped: np.ndarray
    dropped: np.ndarray
    documents: list[dict[str, Any]] | None = None

    @classmethod
    def of_vectors(
        cls, docids: list[str], impacts: csr_array, documents: list[dict[str, Any]] | None = None
    ) -> EncodedBatch:
        """Vectors that were not encoded here: nothing of them is known to be truncated, clipped or dropped."""
        none = np.zeros(len(docids), dtype=np.int32)
        return cls(docids=docids, impacts=impacts, truncated=none > 0, clipped=none, dropped=none, documents=documents)

    def __len__(self) -> int:
        return len(self.docids)


def join_batches(batches: Sequence[EncodedBatch]) -> EncodedBatch:
    """One batch out of several (at least one), in their order."""
    stored = [batch.documents for batch in batches]
    return EncodedBatch(
        docids=[docid for batch in batches for docid in batch.docids],
        impacts=csr_array(vstack([batch.impacts for batch in batches])),
        truncated=np.concatenate([batch.truncated for batch in batches]),
        clipped=np.concatenate([batch.clipped for batch in batches]),
        dropped=np.concatenate([batch.dropped for batch in batches]),
        documents=None if None in stored else [fields for each in stored for fields in each or []],
    )


@dataclass(frozen=True, kw_only=True)
class EncodedCounts:
    """What encoding did to a number of documents; counts of different batches can be added.

    Attributes:
        documents: documents encoded.
        without_impacts: documents whose row is empty, so that no query finds them.
        truncated: documents of which only the beginning was encoded.
        clipped_documents: documents with at least one clipped weight.
        clipped_weights: weights above the top of the quantiser's scale.
        dropped_weights: weights that rounded to 0.
    """

    documents: int = 0
    without_impacts: int = 0
    truncated: int = 0
    clipped_documents: int = 0
    clipped_weights: int = 0
    dropped_weights: int = 0

    @classmethod
    def of(cls, batch: EncodedBatch) -> EncodedCounts:
        """The counts of one batch."""
        return cls(
            documents=len(batch),
            without_impacts=int((np.diff(batch.impacts.indptr) == 0).sum()),
            truncated=int(batch.truncated.sum()),
            clipped_documents=int((batch.clipped > 0).sum()),
            clipped_weights=int(batch.clipped.sum()),
            dropped_weights=int(batch.dropped.sum()),
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> EncodedCounts:
        """Read what ``dataclasses.asdict`` gave; ``TypeError`` for other fields."""
        return cls(**{name: int(value) for name, value in values.items()})

    def __add__(self, other: EncodedCounts) -> EncodedCounts:
        mine, others = dataclasses.asdict(self), dataclasses.asdict(other)
        return EncodedCounts(**{name: value + others[name] for name, value in mine.items()})
