"""Documents and queries from BEIR folders, JSONL, TSV and ``ir_datasets``, one at a time.

Records that cannot be used stop the reader with file, line and id; nothing is skipped unless asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

from splare_plugins.config import Side
from splare_plugins.corpus.documents import Document, Query, ReadCounts, check_id, check_text
from splare_plugins.corpus.irds import irds_records
from splare_plugins.corpus.sources import Source, file_format, is_irds, source_files
from splare_plugins.errors import InputError
from splare_plugins.machine.files import numbered_lines, parse_json_object

OnDuplicate = Literal["error", "first"]

_ID_FIELDS = {"document": ("_id", "id", "docid", "docno", "doc_id"), "query": ("_id", "id", "qid", "query_id")}
_TEXT_FIELDS = {"document": ("text", "contents"), "query": ("text", "query", "contents")}
_TSV_COLUMNS = {"document": "id<TAB>text or id<TAB>title<TAB>text", "query": "id<TAB>text"}


class Record(NamedTuple):
    """One line of a source, not yet checked."""

    where: str
    id: Any
    title: Any
    text: Any


def read_documents(
    source: Source, *, on_duplicate: OnDuplicate = "error", counts: ReadCounts | None = None
) -> Iterator[Document]:
    """Read a corpus, one document at a time.

    Ids are remembered to find duplicates: about 100 bytes a document.

    Args:
        source: a BEIR folder, a ``.jsonl`` or ``.tsv`` file (plain or ``.gz``), a folder of such parts, several
            files, or ``irds:NAME``.
        on_duplicate: ``"error"`` stops at an id that came before; ``"first"`` keeps the first and counts the rest.
        counts: filled while reading.

    Returns:
        An iterator. Documents with empty text are kept; control characters in texts become blanks (both counted).

    Raises:
        InputError: at once for a source that does not exist or is not known; while reading for broken JSON, text
            that is not UTF-8, a missing, repeated or unusable id, or a missing text, naming file, line and id.
        MissingPartError: if ``irds:`` is asked for and ``ir_datasets`` is not installed.
    """
    records = _records(source, "document", on_duplicate, counts)
    return (Document(docid, text, title) for docid, title, text in records)


def read_queries(
    source: Source, *, on_duplicate: OnDuplicate = "error", counts: ReadCounts | None = None
) -> list[Query]:
    """Read queries; sources, checks and errors are those of :func:`read_documents`.

    Of a BEIR folder, all queries are read, whichever split they belong to.

    Raises:
        InputError: also if there is no query at all.
    """
    queries = [Query(qid, text) for qid, _, text in _records(source, "query", on_duplicate, counts)]
    if not queries:
        raise InputError(f"{source} holds no query")
    return queries


def _records(
    source: Source, side: Side, on_duplicate: OnDuplicate, counts: ReadCounts | None
) -> Iterator[tuple[str, str, str]]:
    """Id, title and text of each record that is kept."""
    if on_duplicate not in ("error", "first"):
        raise InputError(f"on_duplicate must be 'error' or 'first', not {on_duplicate!r}")
    records: Iterator[Record]
    if isinstance(source, str) and is_irds(source):
        records = (Record(*fields) for fields in irds_records(source, side))
    else:
        files = source_files(source, side)
        records = (record for path in files for record in _file_records(path, side))
    return _checked(records, side, on_duplicate, ReadCounts() if counts is None else counts)


def _file_records(path: Path, side: Side) -> Iterator[Record]:
    parse = _parse_json if file_format(path) == "jsonl" else _parse_tsv
    for number, line in numbered_lines(path):
        if line and not line.isspace():
            yield parse(line, f"{path}:{number}", side)


def _parse_json(line: str, where: str, side: Side) -> Record:
    values = parse_json_object(line, where)
    id_field = _first_field(values, _ID_FIELDS[side])
    if id_field is None:
        raise InputError(f"{where}: this record has no id; it needs a field {_either(_ID_FIELDS[side])}")
    text_field = _first_field(values, _TEXT_FIELDS[side])
    if text_field is None:
        raise InputError(
            f"{where}: the {side} {values[id_field]!r} has no text; it needs a field {_either(_TEXT_FIELDS[side])}"
        )
    return Record(where, values[id_field], values.get("title") or "", values[text_field])


def _parse_tsv(line: str, where: str, side: Side) -> Record:
    columns = line.split("\t")
    if len(columns) == 2:
        return Record(where, columns[0], "", columns[1])
    if len(columns) == 3 and side == "document":
        return Record(where, *columns)
    raise InputError(
        f"{where}: the line of {columns[0][:40]!r} has {len(columns)} columns; it must be {_TSV_COLUMNS[side]}"
    )


def _checked(
    records: Iterator[Record], side: Side, on_duplicate: OnDuplicate, counts: ReadCounts
) -> Iterator[tuple[str, str, str]]:
    seen: set[str] = set()
    for record in records:
        name = check_id(record.id, record.where)
        where = f"{record.where}: {side} {name!r}"
        title, title_cleaned = check_text(record.title, where)
        text, text_cleaned = check_text(record.text, where)
        counts.read += 1
        if name in seen:
            if on_duplicate == "error":
                raise InputError(f"{where} came before; ids must be unique (--on-duplicate first keeps the first one)")
            counts.duplicates += 1
            continue
        seen.add(name)
        counts.cleaned += title_cleaned or text_cleaned
        counts.empty += not (title.strip() or text.strip())
        yield name, title, text


def _first_field(values: dict[str, Any], names: tuple[str, ...]) -> str | None:
    return next((name for name in names if values.get(name) is not None), None)


def _either(names: tuple[str, ...]) -> str:
    return " or ".join(f'"{name}"' for name in names)
