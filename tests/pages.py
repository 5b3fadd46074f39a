"""Runs what pages of the documentation show, in the current folder: ``python -m tests.pages PAGE...``.

``bash``: each line is a command. ``python``: the blocks of a page share their names; a ``text`` block right after one
is what it prints. ``console``: ``$ command`` lines, each followed by what it prints. Printed numbers may differ by a
fiftieth, since sums of floats differ between processors. A block below ``<!-- not run: REASON -->`` is not run;
:func:`check` says whether its Python compiles and its commands have the options that they are given.

A process of its own, because Java resolves relative paths against the folder in which it was started.
"""

from __future__ import annotations

import importlib.util
import io
import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import typer.main

from splare_plugins.cli.app import app
from splare_plugins.cli.app import main as splare
from tests.remembered import remember_models

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^(?:<!-- not run: ([^>\n]+) -->\n)?```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NUMBER = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?")


class Block(NamedTuple):
    """A block of code."""

    language: str
    content: str
    reason: str
    """Why it is not run; empty for one that is."""
    printed: str | None
    """What the page says that it prints."""


def blocks(page: Path) -> list[Block]:
    """The blocks of a page that are run or checked."""
    text = page.read_text(encoding="utf-8")
    found = list(_BLOCK.finditer(text))
    shown = []
    for block, following in pairwise([*found, None]):
        assert block is not None
        reason, language, content = block.groups()
        if language in ("bash", "python", "console"):
            adjacent = following is not None and not text[block.end() : following.start()].strip()
            printed = following[3] if following is not None and adjacent and following[2] == "text" else None
            shown.append(Block(language, content, reason or "", printed))
    return shown


def commands(block: str) -> list[list[str]]:
    """The commands of a shell block, split into words."""
    lines = block.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def conversation(block: str) -> Iterator[tuple[str, str]]:
    """Each command of a console block, and what the page says that it prints."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, printed = part.partition("\n")
        yield command, printed


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
            raise ValueError(f"the page shows a command that no test can run: {shlex.join(words)}")
    except SystemExit as stop:
        if stop.code not in (0, None):
            raise RuntimeError(f"{shlex.join(words)} ended with status {stop.code}") from stop


def check(block: Block) -> None:
    """Read a block that is not run: raises for Python that does not compile, and for options that there are not."""
    if block.language == "python":
        compile(block.content, "page", "exec")
    else:
        for words in commands(block.content):
            _check_command(words)


def _check_command(words: list[str]) -> None:
    if words[0] == "splare":
        command, arguments, parent = typer.main.get_command(app), words[1:], None
        while hasattr(command, "resolve_command"):
            parent = command.make_context(words[0], arguments, parent=parent)
            rest = [*getattr(parent, "_protected_args", []), *parent.args]
            _, command, arguments = command.resolve_command(parent, rest)
        command.make_context(command.name, arguments, parent=parent)
    elif words[:2] == ["python", "-m"]:
        # The module itself is not looked for: that would import what is above it, and start Java.
        assert importlib.util.find_spec(words[2].partition(".")[0]), f"there is no package of {words[2]}"
    elif words[0] == "python":
        assert (ROOT / words[1]).is_file(), f"there is no {words[1]}"


def same(printed: str, expected: str) -> bool:
    """Whether two texts are equal but for white space at line ends and small differences of numbers."""
    if [line.rstrip() for line in _NUMBER.sub("#", printed.strip()).splitlines()] != [
        line.rstrip() for line in _NUMBER.sub("#", expected.strip()).splitlines()
    ]:
        return False
    pairs = zip(_NUMBER.findall(printed), _NUMBER.findall(expected), strict=True)
    numbers = [(float(one.replace(",", "")), float(other.replace(",", ""))) for one, other in pairs]
    return all(abs(one - other) <= abs(other) / 50 for one, other in numbers)


def _printed(work: Callable[[], object]) -> str:
    with redirect_stdout(io.StringIO()) as stream:
        work()
    return stream.getvalue()


def _answer(command: str) -> str:
    """What a command of a console block prints, whether it fails or not."""
    words = shlex.split(command)
    if words[0] != "splare":
        return subprocess.run(command, shell=True, check=True, capture_output=True, text=True).stdout

    with redirect_stdout(io.StringIO()) as stream, redirect_stderr(stream), suppress(SystemExit):
        splare(words[1:])
    return stream.getvalue()


def _compare(page: Path, what: str, printed: str, expected: str) -> None:
    if not same(printed, expected):
        raise AssertionError(f"{page.name}: {what}\nprinted\n{printed}\nwhere the page has\n{expected}")


def show(page: Path) -> int:
    """Run everything that a page shows; returns how many commands and blocks that were."""
    names: dict[str, object] = {}
    ran = 0
    for block in blocks(page):
        if block.reason:
            continue
        if block.language == "python":
            work = partial(exec, compile(block.content, str(page), "exec"), names)
            if block.printed is None:
                work()
            else:
                _compare(page, block.content, _printed(work), block.printed)
            ran += 1
        elif block.language == "console":
            for command, expected in conversation(block.content):
                _compare(page, command, _answer(command), expected)
                ran += 1
        else:
            for words in commands(block.content):
                run(words)
                ran += 1
    return ran


def run_pages(*pages: str, folder: Path, data: Path, **variables: str) -> list[int]:
    """Run pages in a process of their own, in ``folder``, with ``data`` as examples/data.

    Returns:
        how many commands and blocks of each were run.
    """
    (folder / "examples").symlink_to(data.parent)
    done = subprocess.run(
        [sys.executable, "-m", "tests.pages", *(str(ROOT / page) for page in pages)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "opensearch")]), **variables},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return [int(number) for number in done.stdout.splitlines()[-1].split()]


if __name__ == "__main__":
    remember_models()
    # Commands replace sys.argv.
    counts = [show(Path(page)) for page in tuple(sys.argv[1:])]
    sys.stdout.write(" ".join(map(str, counts)) + "\n")
