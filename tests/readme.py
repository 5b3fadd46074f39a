"""Runs the README's commands and Python blocks as written, in the current folder: ``python -m tests.readme``.

A process of its own, because Java resolves relative paths against the folder in which it was started.
"""

from __future__ import annotations

import re
import runpy
import shlex
import sys
from pathlib import Path

from splare_plugins.cli.app import main as splare

README = Path(__file__).parents[1] / "README.md"
# Run by other targets of the Makefile, or too long for a test.
NOT_HERE = ("make ", "python benchmarks/", "splare demo", "pip install")


def blocks() -> list[tuple[str, str]]:
    """Language and content of each code block."""
    return re.findall(r"```(bash|python)\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def commands(block: str) -> list[list[str]]:
    """The commands of a shell block, split into words."""
    lines = block.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True)) and not line.startswith(NOT_HERE)]


def run(words: list[str]) -> None:
    """Run one command in this process."""
    program, arguments = words[0], words[1:]
    try:
        if program == "splare":
            splare(arguments)
        elif program == "python" and arguments[0] == "-m":
            sys.argv = arguments[1:]
            runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        else:
            raise ValueError(f"the README shows a command that no test can run: {shlex.join(words)}")
    except SystemExit as stop:
        if stop.code not in (0, None):
            raise RuntimeError(f"{shlex.join(words)} ended with status {stop.code}") from stop


def main() -> None:
    """Run everything, and say how much that was."""
    names: dict[str, object] = {}
    ran = 0
    for language, block in blocks():
        if language == "python":
            exec(compile(block, "README.md", "exec"), names)
            ran += 1
        else:
            for words in commands(block):
                run(words)
                ran += 1
    sys.stdout.write(f"{ran} commands and blocks\n")


if __name__ == "__main__":
    main()
