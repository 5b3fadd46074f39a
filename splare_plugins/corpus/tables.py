"""Records of files: JSONL, JSON, TSV, CSV and Parquet, plain or compressed, as values by field."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from splare_plugins.config import Side
from splare_plugins.corpus.fields import Fields
from splare_plugins.errors import InputError
from splare_plugins.machine.files import numbered_lines, parse_json_object

logger = logging.getLogger(__name__)

Values = tuple[str, dict[str, Any]]
"""Where a record stands, and its values."""
_LARGEST_CELL = 1 << 30


def parquet_values(path: Path) -> Iterator[Values]:
    """The rows of a Parquet file.

    Raises:
        InputError: if it is not one, or is damaged.
    """
    import pyarrow.parquet as pq
    from pyarrow import ArrowException

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=256):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}, row {number}", row
    except (ArrowException, OSError) as error:
        raise InputError(f"{path} is not a Parquet file that can be read ({error}); fetch it again") from error


def json_values(path: Path) -> Iterator[Values]:
    """The objects of a JSONL file, or of a JSON array, whichever it holds.

    Raises:
        InputError: if the file holds something else, naming the line.
    """
    lines = ((number, line) for number, line in numbered_lines(path) if line and not line.isspace())
    first = next(lines, None)
    if first is None:
        return
    if not first[1].lstrip().startswith("["):
        for number, line in chain([first], lines):
            where = f"{path}:{number}"
            yield where, parse_json_object(line, where)
        return
    try:
        values = json.loads("\n".join([first[1], *(line for _, line in lines)]))
    except (ValueError, RecursionError) as error:
        # What is no array as a whole may be lines that each hold one, which are refused by their number.
        parse_json_object(first[1], f"{path}:{first[0]}")
        raise InputError(f"{path} is not valid JSON: {error}") from error
    for number, value in enumerate(values, start=1):
        if not isinstance(value, dict):
            raise InputError(f"{path}, item {number}: each item must hold a JSON object, not {str(value)[:40]!r}")
        yield f"{path}, item {number}", value


def tsv_values(path: Path, side: Side, fields: Fields) -> Iterator[Values]:
    """The lines of a TSV file, whose texts are taken as they stand; quotation marks mean nothing."""
    lines = ((f"{path}:{number}", line.split("\t")) for number, line in numbered_lines(path))
    return _table(((where, cells) for where, cells in lines if any(map(str.strip, cells))), side, fields, "TAB")


def csv_values(path: Path, side: Side, fields: Fields) -> Iterator[Values]:
    """The rows of a CSV file, quoted as spreadsheets do it."""
    csv.field_size_limit(_LARGEST_CELL)
    reader = csv.reader((line + "\n" for _, line in numbered_lines(path)), strict=True)
    return _table(_csv_rows(path, reader), side, fields, "comma")


def _csv_rows(path: Path, reader: Any) -> Iterator[tuple[str, list[str]]]:
    try:
        for cells in reader:
            if any(map(str.strip, cells)):
                yield f"{path}:{reader.line_num}", cells
    except csv.Error as error:
        raise InputError(f"{path}:{reader.line_num}: this is not CSV: {error}") from error


def _table(rows: Iterator[tuple[str, list[str]]], side: Side, fields: Fields, mark: str) -> Iterator[Values]:
    first = next(rows, None)
    if first is None:
        return
    where, cells = first
    names = fields.columns or fields.header(cells, where, side)
    if names and not fields.columns:
        logger.warning("%s: the first line is taken as the header: %s", where, ", ".join(names))
    else:
        rows = chain([first], rows)
        names = names or _two_columns(cells, where, side, fields)
    for where, cells in rows:
        if len(cells) != len(names):
            raise InputError(
                f"{where}: the line of {cells[0][:40]!r} has {len(cells)} columns; it must be "
                f"{f'<{mark}>'.join(names)}"
            )
        yield where, dict(zip(names, cells, strict=True))


def _two_columns(cells: list[str], where: str, side: Side, fields: Fields) -> tuple[str, ...]:
    """An id and a text; of more columns without a header nobody can tell which is what."""
    if fields.id or fields.text or fields.title:
        named = ", ".join(filter(None, (fields.id, fields.text, fields.title)))
        out = fields.way_out("add such a line", "columns", "name all columns")
        raise InputError(f"{where}: the first line is no header that names {named}; {out}")
    if len(cells) > 2:
        example = "id,title,text" if side == "document" else "id,text"
        example += ",other" * (len(cells) - len(example.split(",")))
        named = (
            f"name them in their order, such as {fields.flags['columns']} {example}, or "
            if "columns" in fields.flags
            else ""
        )
        raise InputError(
            f"{where}: the line of {cells[0][:40]!r} has {len(cells)} columns and no header says which is what; "
            f"{named}add a first line that names them"
        )
    if len(cells) < 2:
        raise InputError(f"{where}: the line of {cells[0][:40]!r} has 1 columns; it must be id<TAB>text")
    return ("id", "text")


TABLES: dict[str, Callable[[Path, Side, Fields], Iterator[Values]]] = {
    "jsonl": lambda path, side, fields: json_values(path),
    "parquet": lambda path, side, fields: parquet_values(path),
    "tsv": tsv_values,
    "csv": csv_values,
}
"""Readers by format."""
