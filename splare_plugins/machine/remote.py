"""Files on file systems of pyarrow, with the few methods of ``pathlib.Path`` that encoded corpora need."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
from pyarrow import fs

from splare_plugins.errors import InputError

# An object is there when all of it has arrived, and not before.
_OBJECT_STORES = {"s3", "gcs", "abfs"}


def open_remote(address: str) -> RemotePath:
    """What stands at a URI.

    Raises:
        InputError: if pyarrow does not open it.
    """
    shown = re.sub("//[^/@]*@", "//", address)  # keys may stand in it
    try:
        system, key = fs.FileSystem.from_uri(address)
    except (OSError, pa.ArrowException, ValueError) as error:
        raise InputError(
            f"{shown} cannot be opened ({_first_line(error)}); give a folder, or an address as pyarrow takes it, such "
            "as s3://bucket/folder"
        ) from error
    base, _, options = shown.partition("?")
    return RemotePath(system, key.rstrip("/"), base.rstrip("/"), options)


class RemotePath:
    """A file or folder.

    Args:
        system: of pyarrow.
        key: its name there.
        address: its URI, for messages and commands.
        options: what follows the URI's ``?``.
    """

    def __init__(self, system: Any, key: str, address: str, options: str = "") -> None:
        self._system, self._key, self._address, self._options = system, key, address, options

    def __str__(self) -> str:
        return f"{self._address}?{self._options}" if self._options else self._address

    def __truediv__(self, name: str) -> RemotePath:
        return RemotePath(self._system, f"{self._key}/{name}", f"{self._address}/{name}", self._options)

    @property
    def name(self) -> str:
        """The last part."""
        return self._key.rpartition("/")[2]

    def exists(self) -> bool:
        """Whether anything stands here."""
        return self._type() != fs.FileType.NotFound

    def is_file(self) -> bool:
        """Whether a file stands here."""
        return self._type() == fs.FileType.File

    def is_dir(self) -> bool:
        """Whether a folder stands here, or objects whose names begin so."""
        return self._type() == fs.FileType.Directory

    def iterdir(self) -> Iterator[RemotePath]:
        """What is in the folder."""
        with self._errors("read"):
            found = self._system.get_file_info(fs.FileSelector(self._key))
        for each in found:
            yield self / each.base_name

    def read_text(self, encoding: str = "utf-8") -> str:
        """The whole file.

        Raises:
            FileNotFoundError: if there is none.
        """
        with self.open() as file:
            return str(bytes(file.read()), encoding)

    def open(self) -> Any:
        """The file as pyarrow reads it.

        Raises:
            FileNotFoundError: if there is none.
        """
        with self._errors("read"):
            return self._system.open_input_file(self._key)

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the file."""
        with self._errors("remove"):
            if not missing_ok or self.is_file():
                self._system.delete_file(self._key)

    def put(self, data: bytes) -> None:
        """Write the file whole: readers see what stood there before, or all of this.

        Raises:
            InputError: if the place cannot be written to.
        """
        with self._errors("write"):
            if self._system.type_name in _OBJECT_STORES:
                self._write(self._key, data)
                return
            folder, _, name = self._key.rpartition("/")
            beside = f"{folder}/.{name}.{secrets.token_hex(8)}.tmp"
            self._system.create_dir(folder, recursive=True)
            self._write(beside, data)
            self._system.move(beside, self._key)

    def _write(self, key: str, data: bytes) -> None:
        with self._system.open_output_stream(key) as stream:
            stream.write(data)

    def _type(self) -> Any:
        with self._errors("read"):
            return self._system.get_file_info(self._key).type

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            if what != "write":
                raise
            raise InputError(f"cannot write {self}: its folder or bucket does not exist; create it first") from None
        except OSError as error:
            raise InputError(
                f"cannot {what} {self}: {_first_line(error)}; see to the address, keys and network, and run again"
            ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")
