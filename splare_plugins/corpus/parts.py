"""One part of an encoded corpus as a Parquet file."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.sparse import csr_array

from splare_plugins.corpus.documents import Document
from splare_plugins.corpus.encoded import EncodedBatch, EncodedCounts
from splare_plugins.errors import InputError
from splare_plugins.machine.files import replacing

_KEY = b"splare"
_STORED = ("title", "text")
_COLUMNS = [
    pa.field("docid", pa.string(), nullable=False),
    pa.field("latents", pa.list_(pa.int32()), nullable=False),
    pa.field("impacts", pa.list_(pa.uint8()), nullable=False),
    pa.field("truncated", pa.bool_(), nullable=False),
    pa.field("clipped", pa.int32(), nullable=False),
    pa.field("dropped", pa.int32(), nullable=False),
]


@dataclass(frozen=True, kw_only=True)
class PartCard:
    """What a part says about itself, readable without its data.

    Attributes:
        fingerprint: of the model and quantiser that made it.
        number: the part's number in the corpus, from 0.
        width: number of latents.
        source_sha256: hash of the documents it was made from.
        counts: what encoding did to them.
    """

    fingerprint: str
    number: int
    width: int
    source_sha256: str
    counts: EncodedCounts


def documents_sha256(documents: Iterable[Document]) -> str:
    """Hash of ids, titles and texts, in order."""
    digest = hashlib.sha256()
    for document in documents:
        for field in document:
            data = field.encode()
            digest.update(len(data).to_bytes(8, "little"))
            digest.update(data)
    return digest.hexdigest()


def write_part(path: Path, batch: EncodedBatch, card: PartCard) -> None:
    """Write a part beside its place and rename it; equal input gives equal bytes.

    Raises:
        InputError: if the place cannot be written to or the disk is full.
    """
    fields = list(_COLUMNS)
    offsets = pa.array(batch.impacts.indptr.astype(np.int32))
    columns: list[Any] = [
        pa.array(batch.docids, pa.string()),
        pa.ListArray.from_arrays(offsets, pa.array(batch.impacts.indices.astype(np.int32))),
        pa.ListArray.from_arrays(offsets, pa.array(batch.impacts.data.astype(np.uint8))),
        pa.array(batch.truncated),
        pa.array(batch.clipped.astype(np.int32)),
        pa.array(batch.dropped.astype(np.int32)),
    ]
    if batch.documents is not None:
        for name in _STORED:
            fields.append(pa.field(name, pa.string(), nullable=False))
            columns.append(pa.array([document[name] for document in batch.documents], pa.string()))
    metadata = {_KEY: json.dumps(dataclasses.asdict(card), sort_keys=True).encode()}
    table = pa.Table.from_arrays(columns, schema=pa.schema(fields, metadata=metadata))
    with replacing(path) as beside:
        pq.write_table(
            table,
            beside,
            row_group_size=max(1, len(batch)),
            compression="zstd",
            # Sorted ids have small differences; no two impacts or ids gain from a dictionary.
            use_dictionary=False,
            column_encoding={"latents.list.element": "DELTA_BINARY_PACKED"},
            write_page_checksum=True,
        )


def read_card(path: Path) -> PartCard:
    """What the part says about itself.

    Raises:
        InputError: if the file is missing, cut off, or no part of an encoded corpus.
    """
    try:
        return _card(pq.read_schema(path), path)
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, error) from error


def read_part(path: Path) -> tuple[EncodedBatch, PartCard]:
    """Read a part and check it.

    Raises:
        InputError: if the file is missing, cut off or damaged, or no part of an encoded corpus.
    """
    try:
        # Read through the one file: a folder name such as a=b must not turn into a column.
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            table = file.read()
        card = _card(table.schema, path)
        return _batch(table, card.width, path), card
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, error) from error


def _card(schema: pa.Schema, path: Path) -> PartCard:
    try:
        values = json.loads((schema.metadata or {})[_KEY])
        counts = EncodedCounts.from_dict(values.pop("counts"))
        return PartCard(counts=counts, **values)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is a Parquet file, but not a part of a corpus that splare encode wrote") from error


def _batch(table: pa.Table, width: int, path: Path) -> EncodedBatch:
    stored = [name for name in _STORED if name in table.column_names]
    expected = [*_COLUMNS, *(pa.field(name, pa.string(), nullable=False) for name in stored)]
    if not table.schema.equals(pa.schema(expected)):
        raise InputError(f"{path} does not have the columns of an encoded corpus; encode this part again")
    columns = {name: table.column(name).combine_chunks() for name in table.column_names}
    latents, impacts = columns["latents"], columns["impacts"]
    bounds = latents.offsets.to_numpy()
    if not np.array_equal(bounds, impacts.offsets.to_numpy()):
        raise InputError(f"{path} has rows with more latents than impacts or the other way round; encode it again")
    parts = (impacts.values.to_numpy().astype(np.int32), latents.values.to_numpy().copy(), bounds.copy())
    try:
        matrix = csr_array(parts, shape=(table.num_rows, width))
        matrix.check_format(full_check=True)
    except ValueError as error:
        raise _damaged(path, error) from error
    return EncodedBatch(
        docids=columns["docid"].to_pylist(),
        impacts=matrix,
        truncated=columns["truncated"].to_numpy(zero_copy_only=False),
        clipped=columns["clipped"].to_numpy(),
        dropped=columns["dropped"].to_numpy(),
        documents=table.select(stored).to_pylist() if len(stored) == len(_STORED) else None,
    )


def _damaged(path: Path, error: Exception) -> InputError:
    detail = str(error).strip().partition("\n")[0]
    return InputError(f"{path} is missing, cut off or damaged ({detail}); remove it and run splare encode again")
