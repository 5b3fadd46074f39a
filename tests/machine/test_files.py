"""Writing beside the place."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from splare_plugins.errors import InputError
from splare_plugins.machine.files import create_once, leftovers, replacing


def test_a_file_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    with replacing(path) as beside:
        beside.write_text("half")
        assert not path.exists()
        assert leftovers(path.parent, {path.name, "other"}) == [beside]
    assert path.read_text() == "half"
    assert leftovers(path.parent, {path.name, "other"}) == []


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_keeps_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(error), replacing(path) as beside:
        beside.write_text("new")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match=r"cannot write .*file: No space left on device; make room"),
        replacing(tmp_path / "file") as beside,
    ):
        beside.write_text("new")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(InputError, match=r"cannot write"), replacing(tmp_path / "file" / "below"):
        pass


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_a_library_that_writes_for_its_owner_alone(umask: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        with replacing(tmp_path / "tensors") as beside:
            beside.touch(mode=0o600)
    finally:
        os.umask(before)
    assert (tmp_path / "tensors").stat().st_mode & 0o777 == 0o666 & ~umask


def test_the_first_to_create_wins(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file"
    create_once(path, "first")
    create_once(path, "second")
    assert path.read_text() == "first"
    assert list(path.parent.iterdir()) == [path]
