"""Steps that are done once, the commands of ``splare`` in them, and files of JSON lines."""

from __future__ import annotations

import gzip
import json
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from rich.console import Console

from splare_plugins.cli.app import main as splare_main
from splare_plugins.machine.files import read_jsonl, replacing

console = Console(width=None if sys.stdout.isatty() else 140)


def step(name: str, result: Path, do: Callable[[Path], None]) -> None:
    """Do what makes ``result``, unless it is there."""
    if result.exists():
        console.print(f"[dim]{name}: {result} is there[/]")
        return
    begun = time.monotonic()
    console.rule(name, align="left")
    result.parent.mkdir(parents=True, exist_ok=True)
    do(result)
    console.print(f"{name}: {time.monotonic() - begun:.0f} s")


def splare(*arguments: object) -> None:
    """A command of the program, in this process: loading torch takes longer than some of them."""
    console.print("splare", *arguments, style="cyan", highlight=False, soft_wrap=True)
    try:
        splare_main([str(argument) for argument in arguments])
    except SystemExit as stop:
        if stop.code:
            raise


def configure(path: Path, **values: Any) -> Path:
    """A config of ``splare train``; JSON is YAML."""
    path.write_text(json.dumps(values, indent=2), encoding="utf-8")
    return path


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [row for _, row in read_jsonl(path)]


def write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    with (
        replacing(path) as beside,
        (gzip.open if path.suffix == ".gz" else open)(beside, "wt", encoding="utf-8") as stream,
    ):
        stream.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
