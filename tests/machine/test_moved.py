"""Modules that moved: run by the name that they had before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PACKAGE = """
import sys
from splare_plugins.machine.moved import MovedModules
sys.meta_path.insert(0, MovedModules(__name__, {"old": "new", "old.tool": "room.other"}))
"""
TOOL = "import sys\nprint(__name__, sys.argv[1])\nif __name__ != '__main__': raise SystemExit(1)\n"


def test_a_module_runs_by_its_old_name(tmp_path: Path) -> None:
    for name, text in {
        "house/__init__.py": PACKAGE,
        "house/new/__init__.py": "",
        "house/new/inside.py": TOOL,
        "house/room/__init__.py": "",
        "house/room/other.py": TOOL,
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for name in ("house.old.inside", "house.old.tool", "house.room.other"):
        done = subprocess.run([sys.executable, "-m", name, "argument"], cwd=tmp_path, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, "__main__ argument\n"), done.stderr


def test_a_module_of_ours_runs_by_its_old_name() -> None:
    done = subprocess.run([sys.executable, "-m", "splare_plugins.builtin.calibrate"], capture_output=True, text=True)
    assert done.stderr.endswith("IndexError: list index out of range\n")  # its first argument is missing
    assert "main(Path(sys.argv[1]))" in done.stderr
