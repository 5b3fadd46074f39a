"""Rows out of files: JSONL, JSON, Parquet, TSV and CSV, plain or compressed, and runs of TREC."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from splare_plugins.corpus.sources import file_format
from splare_plugins.corpus.tables import Cells, csv_cells, json_values, named_cells, parquet_values, tsv_cells
from splare_plugins.corpus.trec import read_run
from splare_plugins.errors import InputError
from splare_plugins.machine.files import COMPRESSED, numbered_lines, read_jsonl
from splare_plugins.training.data.layouts import is_header
from splare_plugins.training.data.values import Lookup, Row

PARTS = (".jsonl", ".ndjson", ".parquet", ".tsv", ".csv")
"""Endings of what is read of a folder, before that of a compression."""
RUNS = (".run", ".trec")
_RUN_COLUMNS = 6

logger = logging.getLogger(__name__)


class Located(NamedTuple):
    """A row and where it stands."""

    where: str
    row: Row
    lookup: Lookup | None = None


def ending(path: Path) -> str:
    """What the name of a file ends in, without the ending that says how it is compressed."""
    return Path(path.stem if path.suffix.lower() in COMPRESSED else path.name).suffix.lower()


def file_rows(path: Path, columns: Sequence[str] = (), *, again: bool = False) -> Iterator[Located]:
    """The rows of a file.

    Args:
        path: a file whose name tells its format.
        columns: names of the columns of a TSV or CSV file without a header, in their order.
        again: the file was read before, so that a header was told of.

    Raises:
        InputError: for an unknown format, a table whose columns nothing names, or a file that is damaged.
    """
    kind = file_format(path)
    table = kind in ("tsv", "csv") or (kind == "text" and ending(path) not in RUNS and columns)
    if columns and not table:
        raise InputError(f"{path} names its columns itself; omit columns, which are for TSV and CSV without a header")
    if ending(path) in RUNS:
        return _run_rows(path)
    if table:
        return _table_rows(path, csv_cells(path) if kind == "csv" else tsv_cells(path), columns, again)
    if kind == "parquet":
        return (Located(where, row) for where, row in parquet_values(path))
    if kind == "jsonl":
        values = json_values(path) if ending(path) == ".json" else read_jsonl(path)
        return (Located(where, row) for where, row in values)
    raise InputError(
        f"{path} has no known format; its name must end in {', '.join(PARTS)}, .json or {', '.join(RUNS)}, or one of "
        f"these and {', '.join(COMPRESSED)}"
    )


def _table_rows(path: Path, lines: Iterator[Cells], columns: Sequence[str], again: bool) -> Iterator[Located]:
    first = next(lines, None)
    if first is None:
        return
    where, cells = first
    found = [cell.strip().lstrip("#").strip().lower() for cell in cells]
    if is_header(found):
        if columns and found != [name.lower() for name in columns]:
            raise InputError(
                f"{where}: the first line is a header ({', '.join(found)}), and columns says {', '.join(columns)}; "
                "omit columns, or remove that line"
            )
        if not again:
            logger.warning("%s: the first line is taken as the header: %s", where, ", ".join(found))
    elif columns:
        lines = chain([first], lines)
    else:
        raise InputError(
            f"{where}: no header says what the {len(cells)} columns are; name them in their order, such as "
            "--columns query,positive,negative for texts or --columns qid,pid,nid for ids (in a config, columns: "
            "[qid, pid, nid])"
        )
    mark = "comma" if file_format(path) == "csv" else "TAB"
    for where, values in named_cells(lines, columns or found, mark):
        # A table has all columns in every line; an empty cell is one that the row lacks.
        yield Located(where, {name: value or None for name, value in values.items()})


def _run_rows(path: Path) -> Iterator[Located]:
    """One row a query, with the documents of a run and their scores."""
    first = next((line for _, line in numbered_lines(path) if line.split()), "")
    if first and len(first.split()) < _RUN_COLUMNS:
        raise InputError(
            f"{path} holds ranks and no scores, and a teacher is known by its scores; give a run of TREC, "
            "'qid Q0 docid rank score tag'"
        )
    return (
        Located(
            f"{path}: query {qid!r}",
            {"query_id": qid, "document_ids": list(hits.docids), "scores": hits.scores.tolist()},
        )
        for qid, hits in read_run(path).items()
    )
