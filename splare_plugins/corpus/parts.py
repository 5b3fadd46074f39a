"""One part of an encoded corpus as a Parquet file."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.sparse import csr_array

from splare_plugins.config import SplareConfig
from splare_plugins.corpus.documents import Document
from splare_plugins.corpus.encoded import EncodedBatch, EncodedCounts, join_batches
from splare_plugins.errors import InputError

if TYPE_CHECKING:
    from splare_plugins.machine.places import Place

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


class PartTask(NamedTuple):
    """A part that is to be made, which any process can do.

    Attributes:
        number: the part's number in the corpus, from 0.
        source_sha256: hash of its documents.
        documents: all of them, in order.
    """

    number: int
    source_sha256: str
    documents: list[Document]


class MadePart(NamedTuple):
    """A part that was made and only has to be put in its place.

    Attributes:
        number: of the part.
        data: the bytes of its file.
        counts: what encoding did to its documents.
    """

    number: int
    data: bytes
    counts: EncodedCounts


def made_part(task: PartTask, batches: Iterable[EncodedBatch], config: SplareConfig) -> MadePart:
    """The part that a task asks for.

    Args:
        task: what to make.
        batches: its documents, encoded, in order.
        config: the model that encoded them.
    """
    whole = join_batches(list(batches))
    if whole.docids != [document.docid for document in task.documents]:
        raise RuntimeError(f"encoding changed the order or the number of the documents of part {task.number}")
    card = PartCard(
        fingerprint=config.index_fingerprint(),
        number=task.number,
        width=config.width,
        source_sha256=task.source_sha256,
        counts=EncodedCounts.of(whole),
    )
    return MadePart(task.number, part_bytes(whole, card), card.counts)


def documents_sha256(documents: Iterable[Document]) -> str:
    """Hash of ids, titles and texts, in order."""
    digest = hashlib.sha256()
    for document in documents:
        for field in document:
            data = field.encode()
            digest.update(len(data).to_bytes(8, "little"))
            digest.update(data)
    return digest.hexdigest()


def part_bytes(batch: EncodedBatch, card: PartCard) -> bytes:
    """A part as a file; equal input gives equal bytes."""
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
    file = io.BytesIO()
    pq.write_table(
        table,
        file,
        row_group_size=max(1, len(batch)),
        compression="zstd",
        # Sorted ids have small differences; no two impacts or ids gain from a dictionary.
        use_dictionary=False,
        column_encoding={"latents.list.element": "DELTA_BINARY_PACKED"},
        write_page_checksum=True,
    )
    return file.getvalue()


def read_card(path: Place) -> PartCard:
    """What the part says about itself.

    Raises:
        InputError: if the file is missing, cut off, or no part of an encoded corpus.
    """
    try:
        with _opened(path) as file:
            return _card(file.schema_arrow, path)
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, error) from error


def read_part(path: Place) -> tuple[EncodedBatch, PartCard]:
    """Read a part and check it.

    Raises:
        InputError: if the file is missing, cut off or damaged, or no part of an encoded corpus.
    """
    try:
        with _opened(path) as file:
            table = file.read()
        card = _card(table.schema, path)
        return _batch(table, card.width, path), card
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, error) from error


def _opened(path: Place) -> Any:
    # Read through the one file: a folder name such as a=b must not turn into a column.
    return pq.ParquetFile(path if isinstance(path, Path) else path.open(), page_checksum_verification=True)


def _card(schema: pa.Schema, path: Place) -> PartCard:
    try:
        values = json.loads((schema.metadata or {})[_KEY])
        counts = EncodedCounts.from_dict(values.pop("counts"))
        return PartCard(counts=counts, **values)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is a Parquet file, but not a part of a corpus that splare encode wrote") from error


def _batch(table: pa.Table, width: int, path: Place) -> EncodedBatch:
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


def _damaged(path: Place, error: Exception) -> InputError:
    detail = str(error).strip().partition("\n")[0]
    return InputError(f"{path} is missing, cut off or damaged ({detail}); remove it and run splare encode again")
