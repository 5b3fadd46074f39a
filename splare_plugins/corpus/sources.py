"""Which files a corpus or a set of queries consists of."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from splare_plugins.config import Side
from splare_plugins.errors import InputError

Source = str | Path | Sequence[str | Path]
"""A file, a folder, ``irds:NAME``, or several files."""

IRDS_PREFIX = "irds:"
_JSONL = (".jsonl", ".json", ".ndjson")
_TSV = (".tsv",)
_BEIR_NAME = {"document": "corpus", "query": "queries"}
_IDENTITY_BYTES = 1 << 20


def is_irds(source: Source) -> bool:
    """Whether ``source`` names a data set of ``ir_datasets``."""
    return isinstance(source, str) and source.startswith(IRDS_PREFIX)


def file_format(path: Path) -> str | None:
    """``"jsonl"``, ``"tsv"``, or ``None`` for a file that readers do not know, judged by its name."""
    name = path.name.lower().removesuffix(".gz")
    if name.endswith(_JSONL):
        return "jsonl"
    return "tsv" if name.endswith(_TSV) else None


def source_files(source: Source, side: Side) -> list[Path]:
    """The files to read, in order.

    A folder with ``corpus.jsonl`` (for queries: ``queries.jsonl``), plain or ``.gz``, is a BEIR folder; any other
    folder of documents is read as parts in the order of their names.

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


def source_identity(source: Source, side: Side = "document") -> str:
    """A short hash that tells two corpora apart without reading them: sizes, first and last MiB of the files.

    Names and folders stay out, so that machines which keep the same corpus in different places agree.
    """
    digest = hashlib.sha256()
    if isinstance(source, str) and is_irds(source):
        digest.update(source.encode())
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
        raise InputError(f"{path} has no known format; its name must end in .jsonl, .json, .tsv or one of them + .gz")
    return path


def _folder_files(folder: Path, side: Side) -> list[Path]:
    name = f"{_BEIR_NAME[side]}.jsonl"
    whole = [path for path in (folder / name, folder / f"{name}.gz") if path.is_file()]
    if len(whole) == 2:
        raise InputError(f"{folder} holds both {name} and {name}.gz; remove one or name the file itself")
    if whole:
        return whole
    if side == "query":
        raise InputError(f"{folder} holds no queries.jsonl or queries.jsonl.gz; name the file with the queries itself")
    parts = sorted(
        path
        for path in folder.iterdir()
        if path.is_file() and not path.name.startswith((".", "queries.")) and file_format(path)
    )
    if not parts:
        raise InputError(
            f"{folder} holds no corpus: neither corpus.jsonl nor other .jsonl or .tsv files, plain or .gz"
        )
    names = {path.name for path in parts}
    for path in parts:
        if f"{path.name}.gz" in names:
            raise InputError(f"{folder} holds both {path.name} and {path.name}.gz; remove one")
    return parts
