"""Files: read line by line with exact positions, written beside their place, hashed."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
import os
import secrets
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from splare_plugins.errors import InputError

if TYPE_CHECKING:
    from splare_plugins.machine.places import Place

COMPRESSED = (".gz", ".bz2", ".xz", ".zst")
"""Endings of names of compressed files that are read as they are."""

_BYTE_ORDER_MARK = "\ufeff"


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a UTF-8 file, plain or :data:`COMPRESSED`, without their line ends, numbered from 1.

    Lines end at ``\\n`` only (a ``\\r`` before it goes too): the other separators that ``str.splitlines`` knows
    are legal inside JSON strings and TSV columns. A byte order mark at the start is skipped.

    Raises:
        InputError: if the file cannot be opened, is not UTF-8, or is compressed and damaged.
    """
    number = 0
    try:
        with open_bytes(path) as stream:
            for number, raw in enumerate(stream, start=1):
                line = _decode(raw, path, number)
                yield number, line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise InputError(
            f"{path}:{number + 1}: the compressed file is damaged or cut off ({error}); fetch it again"
        ) from error
    except OSError as error:
        if error.errno is None:  # not the system's: bz2 and zstd say so that the data are wrong
            raise InputError(
                f"{path}:{number + 1}: the compressed file is damaged or cut off ({error}); fetch it again"
            ) from error
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error


def open_bytes(path: Path) -> IO[bytes]:
    """A file to read from, decompressed if its name says that it is compressed."""
    if path.suffix == ".zst":
        import pyarrow as pa

        # Read through a buffer: Arrow's own loop over lines is slow.
        return io.BufferedReader(pa.input_stream(str(path), compression="zstd"), 1 << 20)
    openers: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
    return cast(IO[bytes], openers.get(path.suffix, open)(path, "rb"))


def _decode(raw: bytes, path: Path, number: int) -> str:
    try:
        return raw.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}:{number}: byte {error.start + 1} of the line (0x{raw[error.start]:02x}) is not UTF-8; "
            "convert the file to UTF-8"
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        InputError: if the file is missing or holds something else.
    """
    values = read_any_json(path)
    if not isinstance(values, dict):
        raise InputError(f"{path} must hold a JSON object, not {type(values).__name__}")
    return values


def read_json_list(path: Path) -> list[dict[str, Any]]:
    """A JSON list of objects.

    Raises:
        InputError: if the file is missing or holds something else.
    """
    values = read_any_json(path)
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise InputError(f"{path} must hold a list of JSON objects; fetch it again")
    return values


def read_any_json(path: Path) -> Any:
    """A JSON value.

    Raises:
        InputError: if the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON: {error}; fetch it again") from error


def read_jsonl(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of a JSONL file, plain or compressed, each with its place for messages; blank lines are passed over.

    Raises:
        InputError: if the file cannot be read, or a line holds something else, naming the line.
    """
    for number, line in numbered_lines(path):
        if line and not line.isspace():
            where = f"{path}:{number}"
            yield where, parse_json_object(line, where)


def parse_json_object(line: str, where: str) -> dict[str, Any]:
    """The JSON object of a line; ``where`` names the line in messages.

    Raises:
        InputError: if the line holds something else.
    """
    try:
        values = json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(f"{where}: this line is not valid JSON: {error.msg} (column {error.colno})") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: this line cannot be read as JSON: {error}") from error
    if not isinstance(values, dict):
        raise InputError(f"{where}: each line must hold a JSON object, not {line[:40]!r}")
    return values


def write_json(path: Path, values: Any) -> None:
    """Write a JSON value as people read it, indented, in UTF-8."""
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A new path beside ``path`` to write to, renamed over ``path`` when the block ends normally.

    Readers see the old file or the whole new one. The name is unique, so that two processes that write the same
    file do not mix their bytes; a killed process leaves it behind, and :func:`leftovers` finds it.

    Raises:
        InputError: if the place cannot be written to or the disk is full; nothing is left behind then.
    """
    with _beside(path) as beside:
        with usual_mode(beside):
            yield beside
        with beside.open("rb") as stream:
            os.fsync(stream.fileno())
        beside.replace(path)


@contextmanager
def usual_mode(path: Path) -> Iterator[None]:
    """Whatever writes ``path``, it can be read by whom any new file can: safetensors makes files for its owner alone.

    A file that is there keeps its permissions.
    """
    is_new = not path.exists()
    path.touch()
    mode = path.stat().st_mode
    if is_new:
        path.unlink()
    yield
    if path.stat().st_mode != mode:
        path.chmod(mode)


def write_whole(path: Place, data: bytes) -> None:
    """Write a file so that readers see the old one or the whole new one, on this machine by way of :func:`replacing`.

    Raises:
        InputError: as :func:`replacing`.
    """
    if not isinstance(path, Path):
        path.put(data)
        return
    with replacing(path) as beside:
        beside.write_bytes(data)


def create_once(path: Place, text: str) -> None:
    """Write ``path`` whole, unless it exists: of several processes that try, one wins and the others change nothing.

    Other file systems than this machine's know no such thing: there, of several that find nothing at the same moment,
    the last one wins.

    Raises:
        InputError: as :func:`replacing`.
    """
    if not isinstance(path, Path):
        if not path.exists():
            path.put(text.encode())
        return
    with _beside(path) as beside:
        beside.write_text(text, encoding="utf-8")
        with suppress(FileExistsError):
            os.link(beside, path)


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file in it")
    beside = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    with write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield beside
        finally:
            beside.unlink(missing_ok=True)


@contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Turn what the system refuses while ``path`` is written into one sentence.

    Raises:
        InputError: if the place cannot be written to or the disk is full.
    """
    try:
        yield
    except OSError as error:
        raise InputError(
            f"cannot write {path}: {error.strerror or error}; make room or choose another place, and run again"
        ) from error


def require_free(folder: Path, *, overwrite: bool, marker: str, what: str) -> None:
    """Refuse to make a folder where something stands; ``overwrite`` replaces an earlier one of the same kind only.

    Args:
        folder: the folder to make.
        overwrite: whether an earlier one may be replaced.
        marker: name of a file that every such folder holds.
        what: what such a folder holds, for messages.

    Raises:
        InputError: if the place is taken.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / marker).is_file():
        raise InputError(f"{folder} is not empty and holds no {what}; choose another folder")
    if not overwrite:
        raise InputError(f"{folder} holds another {what} already; choose another folder or add --overwrite")


def leftovers(folder: Place, names: Collection[str]) -> list[Place]:
    """Files that killed processes left behind while they wrote files of these names."""
    hidden = [file for file in folder.iterdir() if file.name.startswith(".") and file.name.endswith(".tmp")]
    return [file for file in hidden if file.name[1:].rpartition(".tmp")[0].rpartition(".")[0] in names]


def file_sha256(*paths: Path) -> str:
    """sha256 over the contents of ``paths``, one after the other."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            hashlib.file_digest(file, lambda: digest)
    return digest.hexdigest()
