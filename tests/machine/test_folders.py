"""Folders that appear whole or not at all, whatever interrupts."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import save_file

from splare_plugins.errors import InputError
from splare_plugins.machine import folders
from splare_plugins.machine.folders import FolderDraft, keep_others, making_once, replacing_folder, updating_folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write(location: Path, text: str) -> None:
    with replacing_folder(location) as made:
        (made / "file").write_text(text)


def test_a_folder_appears_whole_and_replaces_the_old_one(tmp_path: Path) -> None:
    location = tmp_path / "new" / "folder"
    for text in ("one", "two"):
        with replacing_folder(location) as made:
            (made / text).write_text(text)
            assert not (location / text).exists()
        assert names(location) == [text]
        assert names(location.parent) == ["folder"]


def test_tensors_can_be_read_by_whom_the_folder_can(tmp_path: Path) -> None:
    location, mine = tmp_path / "model", tmp_path / "mine.safetensors"
    mine.touch(mode=0o600)
    with replacing_folder(location) as made:
        (made / "adapter").mkdir()
        save_file({"weights": np.zeros(1)}, made / "adapter" / "adapter.safetensors")
        os.link(mine, made / "mine.safetensors")
        (made / "lost.safetensors").symlink_to("nowhere")
    making_once(tmp_path / "graph", "mark", lambda made: save_file({}, made / "mark.safetensors"))
    written = (location / "adapter" / "adapter.safetensors", tmp_path / "graph" / "mark.safetensors")
    assert {path.stat().st_mode & 0o777 for path in written} == {location.stat().st_mode & 0o666}
    assert mine.stat().st_mode & 0o777 == 0o600


def test_of_many_that_want_a_folder_one_makes_it(tmp_path: Path) -> None:
    made: list[str] = []

    def write(folder: Path) -> None:
        made.append(folder.name)
        time.sleep(0.1)
        if len(made) == 1:
            raise ValueError("the first one fails, and the next one goes on")
        (folder / "mark").touch()

    with ThreadPoolExecutor(8) as pool:
        tries = [pool.submit(making_once, tmp_path / "cache" / "model", "mark", write) for _ in range(8)]
    assert sum(each.exception() is not None for each in tries) == 1 and len(made) == 2
    assert names(tmp_path / "cache") == ["model"] and names(tmp_path / "cache" / "model") == ["mark"]


def test_where_there_are_no_locks_all_make_it_and_find_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "no locks here")

    together = Barrier(2, timeout=10)

    def write(folder: Path) -> None:
        together.wait()
        (folder / "mark").touch()

    for locks in (None, SimpleNamespace(flock=refuse, LOCK_EX=2)):
        monkeypatch.setattr(folders, "fcntl", locks)
        place = tmp_path / f"cache {locks is None}"
        with ThreadPoolExecutor(2) as pool:
            tries = [pool.submit(making_once, place / "model", "mark", write) for _ in range(2)]
        assert [each.exception() for each in tries] == [None, None]
        assert names(place) == ["model"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_keeps_the_old_folder(tmp_path: Path, error: type[BaseException]) -> None:
    location = tmp_path / "folder"
    write(location, "old")
    with pytest.raises(error), replacing_folder(location) as made:
        (made / "file").write_text("new")
        raise error
    assert (location / "file").read_text() == "old"
    assert names(tmp_path) == ["folder"]


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No space left on device; make room"), replacing_folder(tmp_path / "folder"):
        raise OSError(28, "No space left on device")
    assert names(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("renames", [0, 1, 2])
def test_a_kill_loses_nothing(tmp_path: Path, renames: int) -> None:
    """Killed after writing, between moving the old folder aside and putting the new one there, and after both."""
    location = tmp_path / "folder"
    write(location, "old")
    code = """
    import os, signal, sys
    from pathlib import Path
    from splare_plugins.machine.folders import replacing_folder

    left = int(sys.argv[2])
    rename = Path.rename

    def counted(self, target):
        global left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return rename(self, target)

    Path.rename = counted
    with replacing_folder(Path(sys.argv[1])) as made:
        (made / "file").write_text("new")
    os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code), str(location), str(renames)], check=False)
    assert done.returncode == -signal.SIGKILL
    draft = FolderDraft(location)
    assert (location / "file").read_text() == ("new" if renames == 2 else "old")
    draft.discard()
    assert names(tmp_path) == ["folder"]


def test_what_is_not_written_anew_stays(tmp_path: Path) -> None:
    location = tmp_path / "folder"
    write(location, "old")
    (location / "notes").mkdir()
    (location / "notes" / "mine").write_text("mine")
    with updating_folder(location, source=None) as made:
        (made / "file").write_text("new")
        keep_others(made, location)
        assert (location / "file").read_text() == "old"
    assert (location / "file").read_text() == "new"
    assert (location / "notes" / "mine").read_text() == "mine"
    assert names(tmp_path) == ["folder"]


def test_a_place_that_cannot_be_renamed_is_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    location = tmp_path / "folder"
    write(location, "old")
    with updating_folder(location, source=location) as made:
        assert made == location
    monkeypatch.chdir(location)
    with updating_folder(Path(), source=None) as made:
        assert made == Path()
        keep_others(made, Path())


def test_a_link_to_a_folder_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    write(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "file").read_text() == "new"


def test_drafts_of_running_processes_are_left_alone(tmp_path: Path) -> None:
    first = FolderDraft(tmp_path / "folder")
    second = FolderDraft(tmp_path / "folder")
    assert first.folder.is_dir() and second.folder.is_dir()
    second.publish()
    assert first.folder.is_dir()
    first.discard()
