"""Documents and queries from BEIR folders, files of any usual form, ``ir_datasets`` and mteb, one at a time.

Records that cannot be used stop the reader with file, line and id; nothing is skipped unless asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from splare_plugins.config import Side
from splare_plugins.corpus.documents import Document, Query, ReadCounts, check_id, check_text
from splare_plugins.corpus.fields import Fields, Record
from splare_plugins.corpus.irds import irds_records
from splare_plugins.corpus.mteb_tasks import is_mteb, mteb_records
from splare_plugins.corpus.sources import Source, file_format, is_catalogued, source_files
from splare_plugins.corpus.tables import TABLES
from splare_plugins.corpus.topics import is_markup, topic_records
from splare_plugins.errors import InputError
from splare_plugins.machine.files import numbered_lines
from splare_plugins.machine.ids import told_apart

OnDuplicate = Literal["error", "first"]
Kept = tuple[str, str, str, tuple[str, ...]]
"""Id, title, text and excluded ids."""


def read_documents(
    source: Source,
    *,
    on_duplicate: OnDuplicate = "error",
    counts: ReadCounts | None = None,
    fields: Fields | None = None,
) -> Iterator[Document]:
    """Read a corpus, one document at a time.

    Ids are remembered to find duplicates: at most 10 bytes of memory a document, and themselves in a temporary file.

    Args:
        source: a BEIR folder, a JSONL, JSON, TSV, CSV or Parquet file (plain, ``.gz``, ``.bz2``, ``.xz``, ``.zst``),
            a folder of such parts, several files, ``irds:NAME``, or ``mteb:TASK``.
        on_duplicate: ``"error"`` stops at an id that came before; ``"first"`` keeps the first and counts the rest.
        counts: filled while reading.
        fields: names of fields or columns, where they are not the usual ones.

    Returns:
        An iterator. Documents with empty text are kept; control characters in texts become blanks (both counted).

    Raises:
        InputError: at once for a source that does not exist or is not known; while reading for broken JSON, text
            that is not UTF-8, a missing, repeated or unusable id, or a missing text, naming file, line and id.
        MissingPartError: if ``irds:`` is asked for and ``ir_datasets`` is not installed, or ``mteb:`` without mteb.
    """
    records = _records(source, "document", on_duplicate, counts, fields or Fields())
    return (Document(name, text, title) for name, title, text, _ in records)


def read_queries(
    source: Source,
    *,
    on_duplicate: OnDuplicate = "error",
    counts: ReadCounts | None = None,
    fields: Fields | None = None,
) -> list[Query]:
    """Read queries; sources, checks and errors are those of :func:`read_documents`, and topics of TREC and NTCIR.

    Of topics the title is the query, or the fields that ``fields.text`` names, such as ``"title,description"``. Of a
    BEIR folder, all queries are read, whichever split they belong to.

    Raises:
        InputError: also if there is no query at all.
    """
    records = _records(source, "query", on_duplicate, counts, fields or Fields())
    queries = [Query(name, text, excluded) for name, _, text, excluded in records]
    if not queries:
        raise InputError(f"{source} holds no query")
    return queries


def _records(
    source: Source, side: Side, on_duplicate: OnDuplicate, counts: ReadCounts | None, fields: Fields
) -> Iterator[Kept]:
    """Each record that is kept."""
    if on_duplicate not in ("error", "first"):
        raise InputError(f"on_duplicate must be 'error' or 'first', not {on_duplicate!r}")
    records: Iterator[Record]
    if isinstance(source, str) and is_catalogued(source):
        if fields != Fields():
            raise InputError(f"{source} names its fields itself; omit the options that name fields")
        found = mteb_records(source, side) if is_mteb(source) else irds_records(source, side)
        records = (Record(*each) for each in found)
    else:
        files = source_files(source, side)
        records = (record for path in files for record in _file_records(path, side, fields))
    return _checked(records, side, on_duplicate, ReadCounts() if counts is None else counts, fields)


def _file_records(path: Path, side: Side, fields: Fields) -> Iterator[Record]:
    kind = file_format(path)
    if kind == "text":
        kind = _kind_of_text(path)
    if kind is None:
        raise InputError(f"{path} has no known form: neither <top>, JSON, nor id<TAB>text on its first line")
    if kind == "topics" and side == "document":
        raise InputError(f"{path} holds topics, not documents; give documents as JSONL, TSV, CSV or Parquet")
    fields.require_use(kind, path)
    if kind == "topics":
        return topic_records(path, fields)
    return (fields.record(values, where, side) for where, values in TABLES[kind](path, side, fields))


def _kind_of_text(path: Path) -> str | None:
    first = next((line for _, line in numbered_lines(path) if line.strip()), "")
    if is_markup(first):
        return "topics"
    if first.lstrip().startswith(("{", "[")):
        return "jsonl"
    return "tsv" if "\t" in first or not first else None


def _checked(
    records: Iterator[Record], side: Side, on_duplicate: OnDuplicate, counts: ReadCounts, fields: Fields
) -> Iterator[Kept]:
    for (record, where, cleaned), repeated in told_apart(_clean(records, side), _id_of):
        counts.read += 1
        if repeated:
            if on_duplicate == "error":
                out = fields.way_out("remove one of the two", "duplicate", "keep the first")
                raise InputError(f"{where} came before; ids must be unique: {out}")
            counts.duplicates += 1
            continue
        counts.cleaned += cleaned
        counts.empty += not (record.title.strip() or record.text.strip())
        yield record.id, record.title, record.text, _excluded(record.excluded, where)


def _clean(records: Iterator[Record], side: Side) -> Iterator[tuple[Record, str, bool]]:
    """Each record with a checked id and checked texts, what messages call it, and whether a text was changed."""
    for record in records:
        name = check_id(record.id, record.where)
        where = f"{record.where}: {side} {name!r}"
        title, title_cleaned = check_text(record.title, where)
        text, text_cleaned = check_text(record.text, where)
        yield Record(record.where, name, title, text, record.excluded), where, title_cleaned or text_cleaned


def _id_of(item: tuple[Record, str, bool]) -> str:
    return str(item[0].id)


def _excluded(value: Any, where: str) -> tuple[str, ...]:
    """Ids of documents that are no answers; BRIGHT writes N/A where there are none."""
    if value == ():
        return ()
    ids = [each for each in (value if isinstance(value, list | tuple) else [value]) if each != "N/A"]
    return tuple(check_id(each, f"{where}: excluded_ids") for each in ids)
