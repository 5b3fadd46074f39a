"""Where things stand: a folder of this machine, an address, any file system that pyarrow opens, such as S3."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from splare_plugins.errors import InputError

if TYPE_CHECKING:
    from splare_plugins.machine.remote import RemotePath

    Place = Path | RemotePath

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
# What pathlib makes of an address.
_BROKEN_ADDRESS = re.compile(r"(s3|gs|gcs|abfss?|hdfs|viewfs):/")


def is_address(where: object) -> bool:
    """Whether a place is written as a URI."""
    return isinstance(where, str) and _ADDRESS.match(where) is not None


def without_password(url: str) -> str:
    """The URL, or several, as it may be shown."""
    # As much as can be: a password may hold a slash, or another @.
    return ",".join(re.sub(r"//.*@", "//", each, flags=re.DOTALL) for each in re.split(r",(?=\s*\w+://)", url))


def find_place(where: str | Place) -> Place:
    """The place that a path or a URI names.

    Args:
        where: a folder; ``s3://bucket/folder``, ``gs://``, ``abfs://`` or ``hdfs://``, with options of pyarrow's after
            a ``?``; or a place.

    Raises:
        InputError: for a URI that pyarrow does not open.
    """
    if isinstance(where, Path) and _BROKEN_ADDRESS.match(str(where)):
        raise InputError(f"{where} was an address until pathlib took it for a path; give it as a string")
    if not isinstance(where, str):
        return where
    if not is_address(where):
        return Path(where)
    if where.lower().startswith("file://"):
        return Path(unquote(urlsplit(where).path))
    from splare_plugins.machine.remote import open_remote

    return open_remote(where)
