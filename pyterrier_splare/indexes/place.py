"""Where an index folder is built, and how it takes its place in one step."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from splare_plugins.errors import InputError
from splare_plugins.machine.folders import FolderDraft

META_FILE = "pt_meta.json"
"""PyTerrier's description of an artifact; ours stands in it under :data:`OURS`."""

OURS = "splare"


class BuildingPlace(FolderDraft):
    """The folder in which an index is built.

    Args:
        location: where the index will stand.
        overwrite: replace the index that stands there.

    Raises:
        InputError: if something stands there that may not be replaced, or nothing can be written there.
    """

    def __init__(self, location: Path, *, overwrite: bool) -> None:
        self._overwrite = overwrite
        self._check(location)
        super().__init__(location)
        # Again, since an index that a killed process had moved aside may be back.
        try:
            self._check(location)
        except InputError:
            self.discard()
            raise

    def publish(self) -> None:
        """Put the folder at ``location``; a failure leaves what stood there.

        Raises:
            InputError: if the place was taken meanwhile, or cannot be written to.
        """
        self._check(self.location)
        super().publish()

    def _check(self, place: Path) -> None:
        if not place.exists() or (place.is_dir() and not any(place.iterdir())):
            return
        if not is_ours(place):
            raise InputError(f"{place} exists and is not an index made here; remove it or choose another place")
        if not self._overwrite:
            raise InputError(
                f"{place} exists already; remove it, choose another place, or replace it (--overwrite, overwrite=True)"
            )


def file_sizes(folder: Path) -> dict[str, int]:
    """The size in bytes of every file in ``folder``, by its path inside."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}


def is_ours(folder: Path) -> bool:
    """Whether an index of this package stands at ``folder``; it may be damaged."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return bool(json.loads((folder / META_FILE).read_text(encoding="utf-8"))[OURS])
    return False


def version_of(folder: Path) -> tuple[int, ...]:
    """Changes whenever an index is built at ``folder``, which must hold one."""
    facts = (folder / META_FILE).stat()
    return facts.st_ino, facts.st_mtime_ns, facts.st_size


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
