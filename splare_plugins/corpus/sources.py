"""Which files a corpus or a set of queries consists of."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Sequence
from pathlib import Path

from splare_plugins.config import Side
from splare_plugins.corpus.fields import Fields
from splare_plugins.corpus.mteb_tasks import is_mteb, mteb_identity
from splare_plugins.errors import InputError
from splare_plugins.machine.files import COMPRESSED

Source = str | Path | Sequence[str | Path]
"""A file, a folder, ``irds:NAME``, ``mteb:TASK``, or several files."""

IRDS_PREFIX = "irds:"
FORMATS = {
    ".jsonl": "jsonl",
    ".json": "jsonl",
    ".ndjson": "jsonl",
    ".tsv": "tsv",
    ".csv": "csv",
    ".parquet": "parquet",
    **dict.fromkeys((".txt", ".topics", ".trec", ".xml", ".sgml", ".title"), "text"),
}
"""Formats by the ending of a name; what a ``text`` is, its beginning says."""
_NAMES = {"document": ("corpus", "documents", "collection"), "query": ("queries", "topics")}
_OTHERS = re.compile(r"(?<![a-z])(quer(y|ies)|topics?|qrels?|judge?ments?|runs?|readme)(?![a-z])", re.IGNORECASE)
_SHARD = re.compile(r"-\d+-of-\d+$")
_IDENTITY_BYTES = 1 << 20

logger = logging.getLogger(__name__)


def is_irds(source: Source) -> bool:
    """Whether ``source`` names a data set of ``ir_datasets``."""
    return isinstance(source, str) and source.startswith(IRDS_PREFIX)


def is_catalogued(source: Source) -> bool:
    """Whether ``source`` names what a catalogue holds, documents and queries: ``irds:NAME`` or ``mteb:TASK``."""
    return is_irds(source) or is_mteb(source)


def file_format(path: Path) -> str | None:
    """One of :data:`FORMATS`, or ``None`` for a file that readers do not know, judged by its name."""
    return FORMATS.get(Path(_plain_name(path)).suffix.lower())


def _plain_name(path: Path) -> str:
    """The name without the ending that says how the file is compressed."""
    return path.stem if path.suffix.lower() in COMPRESSED else path.name


def source_files(source: Source, side: Side) -> list[Path]:
    """The files to read, in order.

    A folder with ``corpus.jsonl`` (for queries: ``queries.jsonl``) is a BEIR folder, and so is one that keeps them as
    Parquet, in a folder ``corpus`` or as ``corpus-00000-of-00001.parquet``; any other folder of documents is read as
    parts in the order of their names. Files that are named for queries, topics, judgements or runs are no documents.

    Raises:
        InputError: if something does not exist, is not known, is empty, or is there twice (plain and compressed).
    """
    if isinstance(source, str | Path):
        path = Path(source)
        return _folder_files(path, side) if path.is_dir() else [_known_file(path)]
    files = [_known_file(Path(each)) for each in source]
    if not files:
        raise InputError(f"no {side} file was given")
    return files


def source_identity(source: Source, side: Side = "document", *, fields: Fields | None = None) -> str:
    """A short hash that tells two corpora apart without reading them: sizes, first and last MiB of the files.

    Names and folders stay out, so that machines which keep the same corpus in different places agree.
    """
    digest = hashlib.sha256()
    if fields is not None and fields != Fields():
        digest.update(repr(fields).encode())
    if isinstance(source, str) and is_catalogued(source):
        digest.update((mteb_identity(source) if is_mteb(source) else source).encode())
        return digest.hexdigest()[:16]
    for path in source_files(source, side):
        size = path.stat().st_size
        digest.update(size.to_bytes(8, "little"))
        with path.open("rb") as stream:
            digest.update(stream.read(_IDENTITY_BYTES))
            stream.seek(max(0, size - _IDENTITY_BYTES))
            digest.update(stream.read(_IDENTITY_BYTES))
    return digest.hexdigest()[:16]


def _known_file(path: Path) -> Path:
    if not path.exists():
        raise InputError(f"{path} does not exist")
    if path.is_dir():
        raise InputError(f"{path} is a folder; among several files only files are taken")
    if file_format(path) is None:
        raise InputError(
            f"{path} has no known format; its name must end in {', '.join(FORMATS)}, or one of these and "
            f"{', '.join(COMPRESSED)}"
        )
    return path


def _folder_files(folder: Path, side: Side) -> list[Path]:
    whole = _named(folder, side)
    if whole:
        return whole
    inner = next((folder / name for name in _NAMES[side] if (folder / name).is_dir()), None)
    if inner is not None:
        return _named(inner, side) or _once(_known(inner), inner)
    if side == "query":
        files = [path for path in _known(folder) if re.search(r"(?<![a-z])(quer(y|ies)|topics?)", path.name, re.I)]
        if len(files) == 1:
            return files
        found = f"several files of queries ({', '.join(path.name for path in files)})" if files else "no queries.jsonl"
        raise InputError(f"{folder} holds {found}; name the file with the queries itself")
    parts = [path for path in _known(folder) if not _OTHERS.search(_plain_name(path))]
    if not parts:
        raise InputError(f"{folder} holds no corpus: neither corpus.jsonl nor other files of documents; name them")
    if left_out := [path.name for path in _known(folder) if path not in parts]:
        logger.warning(
            "%s: the documents are %s; left out for their names: %s",
            folder,
            ", ".join(path.name for path in parts[:5]) + (f" and {len(parts) - 5} more" if len(parts) > 5 else ""),
            ", ".join(left_out),
        )
    return _once(parts, folder)


def _named(folder: Path, side: Side) -> list[Path]:
    """The file that is called as BEIR does it, or its shards."""
    for name in _NAMES[side]:
        files = [path for path in _known(folder) if Path(_plain_name(path)).stem == name]
        if len(files) > 1:
            raise InputError(
                f"{folder} holds both {files[0].name} and {files[1].name}; remove one or name the file itself"
            )
        shards = [path for path in _known(folder) if _SHARD.sub("", Path(_plain_name(path)).stem) == name]
        if files or shards:
            return files or _once(shards, folder)
    return []


def _known(folder: Path) -> list[Path]:
    """Files of known formats in the order of their names; texts of any kind are no parts of a corpus."""
    return sorted(
        path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".") and file_format(path)
    )


def _once(parts: list[Path], folder: Path) -> list[Path]:
    if not parts:
        raise InputError(f"{folder} holds no file of a known format; name the files themselves")
    names: dict[str, Path] = {}
    for path in parts:
        if (twin := names.setdefault(_plain_name(path), path)) is not path:
            raise InputError(f"{folder} holds both {twin.name} and {path.name}; remove one")
    return parts
