"""Folders that appear whole or not at all: written beside their place, and put there in one step."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from splare_plugins.errors import InputError
from splare_plugins.machine.files import write_errors

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None  # type: ignore[assignment]


def require_no_input(output: Path, *inputs: str | Path | None) -> None:
    """Raise an ``InputError`` if what would be written is one of the files that are read."""
    for each in inputs:
        if each is not None and output.is_file() and Path(each).is_file() and output.samefile(each):
            raise InputError(f"{output} is read, and would be overwritten; choose another file for the output")


def require_elsewhere(location: Path) -> None:
    """Refuse to replace the folder that the shell stands in, or one around it: it would go on in one that is gone.

    Raises:
        InputError: if ``location`` is such a folder.
    """
    if Path.cwd().is_relative_to(location.resolve()):
        raise InputError(f"{location} is the folder that you are in, or one around it; name a new folder inside it")


class FolderDraft:
    """A new folder beside ``location`` that takes its place, or vanishes.

    What stands at ``location`` is moved aside, not removed, until the new folder is there. The next draft of the same
    place clears what a killed process of this machine left behind, and puts back a folder that it had moved aside.

    Args:
        location: where the folder will stand; its parents are made.

    Attributes:
        folder: what to write into.

    Raises:
        InputError: if nothing can be written there.
    """

    def __init__(self, location: Path) -> None:
        self.location = location.resolve()
        require_elsewhere(location)
        with write_errors(location):
            self.location.parent.mkdir(parents=True, exist_ok=True)
            restore_folder(self.location)
            self.folder = self._beside("building")
            self.folder.mkdir()

    def publish(self) -> None:
        """Put the folder at ``location``; a failure leaves what stood there.

        Raises:
            InputError: if the place cannot be written to.
        """
        old = self._beside("old") if self.location.exists() else None
        with write_errors(self.location):
            self.share()
            if old is not None:
                self.location.rename(old)
            try:
                self.folder.rename(self.location)
            except OSError:
                if old is not None:
                    old.rename(self.location)
                raise
        if old is not None:
            shutil.rmtree(old, ignore_errors=True)

    def share(self) -> None:
        """Let those read the tensors who can read the folder: safetensors makes files for their owner alone."""
        mode = self.folder.stat().st_mode & 0o444
        for path in self.folder.rglob("*.safetensors"):
            found = path.lstat()
            # A second link is that of a file of the folder before, which stays as it is.
            if stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and found.st_mode & mode != mode:
                path.chmod(found.st_mode | mode)

    def discard(self) -> None:
        """Remove the folder; a second time does nothing."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _beside(self, purpose: str) -> Path:
        owner = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        return self.location.with_name(f".{self.location.name}.{owner}.{purpose}")


@contextmanager
def replacing_folder(location: Path) -> Iterator[Path]:
    """A new folder to write into, put at ``location`` when the block ends normally, and removed otherwise.

    Raises:
        InputError: if the place cannot be written to or the disk is full; what stood there stays.
    """
    draft = FolderDraft(location)
    try:
        with write_errors(location):
            yield draft.folder
            draft.publish()
    finally:
        draft.discard()


def making_once(folder: Path, mark: str, write: Callable[[Path], None]) -> None:
    """Make a folder that never changes unless it is there: whole, beside its place, and put there in one step.

    Of processes that start together one makes it, and the others wait for it; all find the same files.

    Args:
        folder: its place.
        mark: a file that the whole folder has.
        write: fills a new folder; what it makes once itself lies elsewhere, or it would wait for its own lock.
    """
    if (folder / mark).is_file():
        return
    with _one_at_a_time(folder.parent):
        if (folder / mark).is_file():
            return
        draft = FolderDraft(folder)
        try:
            write(draft.folder)
            draft.share()
            try:
                draft.folder.rename(folder)
            except OSError:
                if not (folder / mark).is_file():  # not another process's result: debris, or a real error
                    draft.publish()
        finally:
            draft.discard()


@contextmanager
def _one_at_a_time(place: Path) -> Iterator[None]:
    """Wait for others that make something in a folder; where the system has no such locks, nobody waits."""
    if fcntl is None:
        yield
        return
    # A lock of the folder itself leaves no file behind, and ends with the process that holds it.
    with write_errors(place):
        place.mkdir(parents=True, exist_ok=True)
        handle = os.open(place, os.O_RDONLY)
    try:
        with suppress(OSError):  # some disks of networks have no locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextmanager
def updating_folder(location: Path, *, source: Path | None) -> Iterator[Path]:
    """As :func:`replacing_folder`, for a place whose other files are to stay: see :func:`keep_others`.

    ``location`` itself is written to where it is the ``source`` of what is saved, since then nothing but small files
    changes, and where it cannot be renamed: another disk is mounted there, or this process works in it.
    """
    same = source is not None and source.resolve() == location.resolve()
    if same or location.is_mount() or Path.cwd().is_relative_to(location.resolve()):
        location.mkdir(parents=True, exist_ok=True)
        yield location
        return
    with replacing_folder(location) as made:
        yield made


def keep_others(made: Path, location: Path, *, without: str = "") -> None:
    """Give ``made``, which is to replace ``location``, the files there that it lacks.

    They are hard links, so what is written after this must replace its file instead of changing it.

    Args:
        made: the new folder.
        location: the place that it is going to.
        without: a folder inside ``made`` that is to have its own files alone, such as all shards of some weights.
    """
    if made == location or not location.is_dir():
        return
    shutil.copymode(location, made)
    for path in sorted(location.rglob("*")):
        twin = made / path.relative_to(location)
        if without and (own := made / without) in twin.parents and own.is_dir():
            continue
        if path.is_dir() and not path.is_symlink():
            twin.mkdir(exist_ok=True)
        elif not twin.exists():
            link_or_copy(path, twin)


def link_or_copy(path: Path, twin: Path) -> None:
    """The same file at another place: a hard link, or a copy where the disk is another one or has no such links."""
    try:
        os.link(path, twin, follow_symlinks=False)
    except OSError:
        shutil.copy2(path, twin, follow_symlinks=False)


def restore_folder(location: Path) -> None:
    """Clear what killed processes of this machine left beside ``location``; put back what they had moved aside."""
    own = rf"\.{re.escape(location.name)}\.{re.escape(socket.gethostname())}-(\d+)-[0-9a-f]{{8}}\.(\w+)"
    for beside in location.parent.iterdir():
        if not (match := re.fullmatch(own, beside.name)) or _is_alive(int(match[1])):
            continue
        if match[2] == "old" and not location.exists():
            beside.rename(location)
        else:
            shutil.rmtree(beside, ignore_errors=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
