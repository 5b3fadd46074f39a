"""Records of files: JSONL, JSON, TSV, CSV and Parquet, plain or compressed, as values by field."""

from __future__ import annotations

import csv
import json
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from splare_plugins.config import Side
from splare_plugins.corpus.fields import Fields, Quoting
from splare_plugins.errors import InputError
from splare_plugins.machine.files import numbered_lines, parse_json_object

logger = logging.getLogger(__name__)

Values = tuple[str, dict[str, Any]]
"""Where a record stands, and its values."""
Cells = tuple[str, list[str]]
"""Where a line stands, and its cells."""
Rows = Iterator[Cells]
_LARGEST_CELL = 1 << 30
# A cell in quotation marks with doubled ones inside, as CSV writers make it and hardly anybody else.
_QUOTED = re.compile(r'"[^"]*(?:""[^"]*)+"')


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
    """The lines of a TSV file, with quotation marks as :class:`Fields` says."""
    quoting = fields.quoting or _usual_quoting(path, side, fields)
    if quoting == "csv":
        rows = csv_cells(path, "\t", hint=f"; {_as_text(fields)}")
        return _table(_within_lines(rows, fields) if fields.quoting is None else rows, side, fields, "TAB")
    rows = tsv_cells(path)
    return _table(_told_of_quotes(rows, fields) if fields.quoting is None else rows, side, fields, "TAB")


def csv_values(path: Path, side: Side, fields: Fields) -> Iterator[Values]:
    """The rows of a CSV file, quoted as spreadsheets do it."""
    return _table(csv_cells(path), side, fields, "comma")


def tsv_cells(path: Path) -> Rows:
    """The cells of each line of a TSV file that is not blank."""
    for number, line in numbered_lines(path):
        if any(map(str.strip, cells := line.split("\t"))):
            yield f"{path}:{number}", cells


def csv_cells(path: Path, delimiter: str = ",", hint: str = "") -> Rows:
    """The cells of each row of a CSV file that is not blank.

    Raises:
        InputError: for quotation marks that are not closed, naming the line.
    """
    csv.field_size_limit(_LARGEST_CELL)
    lines = (line + "\n" for _, line in numbered_lines(path))
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            if any(map(str.strip, cells)):
                yield f"{path}:{reader.line_num}", cells
    except csv.Error as error:
        raise InputError(f"{path}:{reader.line_num}: this is not CSV: {error}{hint}") from error


def _usual_quoting(path: Path, side: Side, fields: Fields) -> Quoting:
    """MS MARCO's TSV has no quoting and no header; DPR's passages are written by a CSV writer, under this one."""
    first = next((line for _, line in numbered_lines(path) if line.strip()), "")
    dpr = side == "document" and not fields.columns and first.split("\t") == ["id", "text", "title"]
    return "csv" if dpr else "none"


def _as_text(fields: Fields) -> str:
    if flag := fields.flags.get("quoting"):
        return f"{flag} none takes quotation marks as text, {flag} csv those that belong together"
    return "close what is quoted, and double the marks in it"


def _within_lines(rows: Rows, fields: Fields) -> Rows:
    """Rows whose quoting nobody stated; a mark that was text would swallow what follows, up to the next one."""
    for where, cells in rows:
        if any("\n" in cell for cell in cells):
            raise InputError(
                f"{where}: a cell in quotation marks that ends here goes over several lines, which may be meant or a "
                f"mark too many; {_as_text(fields)}"
            )
        yield where, cells


def _told_of_quotes(rows: Rows, fields: Fields) -> Rows:
    """The same rows; the first cell that looks quoted is told, as its marks are kept."""
    told = False
    for where, cells in rows:
        if not told and any(map(_QUOTED.fullmatch, cells)):
            told = True
            out = f"; {flag} csv removes them" if (flag := fields.flags.get("quoting")) else ""
            logger.warning("%s: quotation marks around cells are kept as text%s", where, out)
        yield where, cells


def named_cells(rows: Rows, names: Sequence[str], mark: str) -> Iterator[Values]:
    """The cells of each line by the names of their columns.

    Raises:
        InputError: for a line with more or fewer cells.
    """
    for where, cells in rows:
        if len(cells) != len(names):
            raise InputError(
                f"{where}: the line of {cells[0][:40]!r} has {len(cells)} columns; it must be "
                f"{f'<{mark}>'.join(names)}"
            )
        yield where, dict(zip(names, cells, strict=True))


def _table(rows: Rows, side: Side, fields: Fields, mark: str) -> Iterator[Values]:
    first = next(rows, None)
    if first is None:
        return
    where, cells = first
    names, is_header = fields.names_of(cells, where, side)
    if is_header:
        logger.warning("%s: the first line is taken as the header: %s", where, ", ".join(names))
    else:
        rows = chain([first], rows)
        names = names or _two_columns(cells, where, side, fields)
    yield from named_cells(rows, names, mark)


def _two_columns(cells: list[str], where: str, side: Side, fields: Fields) -> tuple[str, ...]:
    """An id and a text; of more columns without a header nobody can tell which is what."""
    if fields.id or fields.text or fields.title:
        named = ", ".join(filter(None, (fields.id, fields.text, fields.title)))
        out = fields.way_out("add such a line", "columns", "name all columns")
        raise InputError(f"{where}: the first line is no header that names {named}; {out}")
    if len(cells) > 2:
        example = "id,title,text" if side == "document" else "id,text"
        example += "".join(f",other{number}" for number in range(1, len(cells) - example.count(",")))
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
