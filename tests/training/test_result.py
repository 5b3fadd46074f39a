"""A trained model's folder is replaced whole: a kill on the way loses neither the old one nor the new one."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from splare_plugins.config import SplareConfig
from splare_plugins.errors import InputError
from splare_plugins.training.result import publish

KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from splare_plugins.config import SplareConfig
from splare_plugins.training.result import publish

base, folder, left = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
rename = Path.rename

def counted(self, target):
    global left
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    return rename(self, target)

def write(made):
    shutil.copytree(base, made, dirs_exist_ok=True)
    Path.rename = counted
    return SplareConfig.load(base)

publish(folder, write)
os.kill(os.getpid(), signal.SIGKILL)
"""


def refuse(made: Path) -> SplareConfig:
    raise InputError("the disk is full")


@pytest.mark.slow
@pytest.mark.parametrize("renames", [0, 1])
def test_a_kill_before_the_new_model_stands_keeps_the_old_one(base: Path, tmp_path: Path, renames: int) -> None:
    folder = tmp_path / "model"
    shutil.copytree(base, folder)
    (folder / "old").touch()
    code = textwrap.dedent(KILLED)
    done = subprocess.run([sys.executable, "-c", code, str(base), str(folder), str(renames)], check=False)
    assert done.returncode == -signal.SIGKILL
    with pytest.raises(InputError, match="full"):
        publish(folder, refuse)
    assert (folder / "old").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_the_card_names_the_place_and_not_the_draft(base: Path, tmp_path: Path) -> None:
    def write(made: Path) -> SplareConfig:
        shutil.copytree(base, made, dirs_exist_ok=True)
        (made / "README.md").unlink(missing_ok=True)
        return SplareConfig.load(base)

    publish(tmp_path / "model", write)
    card = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    assert 'from_pretrained("model")' in card
    assert ".building" not in card
