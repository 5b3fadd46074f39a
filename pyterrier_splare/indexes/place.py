"""Where an index folder is built, and how it takes its place in one step."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from splare_plugins.errors import InputError

META_FILE = "pt_meta.json"
"""PyTerrier's description of an artifact; ours stands in it under :data:`OURS`."""

OURS = "splare"


class BuildingPlace:
    """A folder beside ``location`` that becomes ``location``, or vanishes.

    What processes of this machine left behind when they were killed is cleared when the next one builds here.

    Args:
        location: where the index will stand.
        overwrite: replace the index that stands there.

    Raises:
        InputError: if something stands there that may not be replaced, or nothing can be written there.
    """

    def __init__(self, location: Path, *, overwrite: bool) -> None:
        self.location = location.absolute()
        self._overwrite = overwrite
        self._check()
        try:
            self.location.parent.mkdir(parents=True, exist_ok=True)
            self._clear_leftovers()
            self.folder = self._beside("building")
            self.folder.mkdir()
        except OSError as error:
            raise InputError(f"no index can be written at {location}: {error.strerror or error}") from error

    def publish(self) -> None:
        """Put the folder at ``location``; a failure leaves what stood there.

        Raises:
            InputError: if the place was taken meanwhile, or cannot be written to.
        """
        self._check()
        old = self._beside("old") if self.location.exists() else None
        try:
            if old is not None:
                self.location.rename(old)
            try:
                self.folder.rename(self.location)
            except OSError:
                if old is not None:
                    old.rename(self.location)
                raise
        except OSError as error:
            raise InputError(
                f"{self.location} cannot be published: {error.strerror or error}; choose another place"
            ) from error
        if old is not None:
            shutil.rmtree(old, ignore_errors=True)

    def discard(self) -> None:
        """Remove the folder; a second time does nothing."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _check(self) -> None:
        """Before the work begins, and again before it is published."""
        place = self.location
        if not place.exists() or (place.is_dir() and not any(place.iterdir())):
            return
        if not is_ours(place):
            raise InputError(f"{place} exists and is no index made here; remove it or choose another place")
        if not self._overwrite:
            raise InputError(f"{place} exists already; remove it, choose another place, or allow overwriting")

    def _beside(self, purpose: str) -> Path:
        owner = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        return self.location.with_name(f".{self.location.name}.{owner}.{purpose}")

    def _clear_leftovers(self) -> None:
        own = rf"\.{re.escape(self.location.name)}\.{re.escape(socket.gethostname())}-(\d+)-[0-9a-f]{{8}}\.(\w+)"
        for beside in self.location.parent.iterdir():
            if not (match := re.fullmatch(own, beside.name)) or _is_alive(int(match[1])):
                continue
            if match[2] == "old" and not self.location.exists():
                # Killed between the two renames of publish().
                beside.rename(self.location)
                self._check()
            else:
                shutil.rmtree(beside, ignore_errors=True)


def file_sizes(folder: Path) -> dict[str, int]:
    """The size in bytes of every file in ``folder``, by its path inside."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}


def is_ours(folder: Path) -> bool:
    """Whether an index of this package stands at ``folder``; it may be damaged."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return bool(json.loads((folder / META_FILE).read_text(encoding="utf-8"))[OURS])
    return False


def read_meta(folder: Path, kind: str) -> dict[str, Any]:
    """What a writer noted about the index at ``folder``; checks that all its files are there and whole.

    Args:
        folder: an index.
        kind: the ``format`` it must have.

    Raises:
        InputError: if there is no index of this kind, or files are missing or cut off.
    """
    try:
        meta = json.loads((folder / META_FILE).read_text(encoding="utf-8"))
        ours, found = meta[OURS], meta["format"]
        files: dict[str, int] = ours["files"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"there is no index made by splare at {folder}") from error
    if found != kind:
        raise InputError(f"the index at {folder} is of the kind {found}, not {kind}; open it as what it is")
    for name, size in files.items():
        with suppress(OSError):
            if (folder / name).stat().st_size == size:
                continue
        raise InputError(f"the index at {folder} is damaged: {name} is missing or cut off; make it again")
    return dict(ours)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
