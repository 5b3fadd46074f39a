"""Every command and every Python block of the README, run as written, on a cut copy of the bundled data."""

from __future__ import annotations

import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest

from splare_plugins.cli import main
from tests.cli.conftest import small_data  # noqa: F401 (a fixture)

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"```(bash|python)\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
# Run by other targets of the Makefile, or too long for a test.
NOT_HERE = ("make ", "python benchmarks/", "splare demo", "pip install")


def commands(block: str) -> list[list[str]]:
    lines = block.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True)) and not line.startswith(NOT_HERE)]


def run(words: list[str], monkeypatch) -> None:
    program, arguments = words[0], words[1:]
    try:
        if program == "splare":
            main(arguments)
        elif program == "python" and arguments[0] == "-m":
            monkeypatch.setattr(sys, "argv", arguments[1:])
            runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        else:
            pytest.fail(f"the README shows a command that no test can run: {shlex.join(words)}")
    except SystemExit as stop:
        assert stop.code in (0, None), shlex.join(words)


@pytest.mark.java
@pytest.mark.model
@pytest.mark.slow
def test_what_the_readme_shows_works(small_data, tmp_path, monkeypatch):  # noqa: F811
    (tmp_path / "examples").symlink_to(small_data.parent)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    ran = 0
    for language, block in BLOCKS:
        if language == "python":
            exec(compile(block, "README.md", "exec"), names)
            ran += 1
        else:
            for words in commands(block):
                run(words, monkeypatch)
                ran += 1
    assert ran >= 12


def test_make_targets_that_the_readme_names_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\S+)", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE):
        assert f"\n{target}:" in makefile
