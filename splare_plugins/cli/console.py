"""What people see: a console on stderr, progress bars, tables; standard output is left to results."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from splare_plugins.machine.places import without_password

if TYPE_CHECKING:
    from rich.console import ConsoleOptions, RenderableType

    from splare_plugins.config import SplareConfig

# What is not a terminal has no width, and nothing that goes into a file or a pipe is cut.
_ENDLESS = 100_000
_CONTROLS = dict.fromkeys((*range(9), *range(11, 32), *range(127, 160)))  # which rich measures as 0 wide
_ESCAPED = {code: f"\\u{code:04x}" for code in range(127, 160)}


class Terminal(Console):
    """A console whose terminal no text can talk to: control characters of labels, words and ids are left out."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """See :meth:`rich.console.Console.render`; what rich itself says to a terminal is marked as such."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=segment.text.translate(_CONTROLS))


console = Terminal(stderr=True, width=None if sys.stderr.isatty() else _ENDLESS)
results = Terminal(width=None if sys.stdout.isatty() else _ENDLESS)


class LogLines(logging.Handler):
    """The log on stderr, a record a line: not cut, and not padded to the width of what has none."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        style = "red" if record.levelno >= logging.ERROR else "yellow" if record.levelno >= logging.WARNING else "dim"
        line = Text.assemble((f"{record.levelname.lower()}:", style), " ", self.format(record))
        console.print(line, highlight=False, soft_wrap=True)


@contextmanager
def progress(what: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr, with the time left where ``total`` is known; yields the function that advances it."""
    columns = [
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        *([TimeRemainingColumn()] if total else []),
    ]
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task(what, total=total, rate="")

        def advance(count: int) -> None:
            bars.advance(task, count)
            speed = bars.tasks[task].speed
            if speed is not None:
                bars.update(task, rate=f"{speed:,.0f}/s")

        yield advance


def warn(message: str) -> None:
    """A line on stderr about what is likely not meant."""
    console.print(Text.assemble(("warning:", "yellow"), " ", message), highlight=False, soft_wrap=True)


def print_json(values: Any) -> None:
    """One line of JSON on standard output, with every control character escaped."""
    typer.echo(json.dumps(values, ensure_ascii=False).translate(_ESCAPED))


def print_facts(title: str, facts: Mapping[str, Any]) -> None:
    """A title and a table of names and values on standard output; entries that are ``None`` are left out."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in facts.items():
        if value is not None:
            table.add_row(name.replace("_", " "), Text(_readable(value)))
    results.print(Text(without_password(title), style="bold"), soft_wrap=True)
    results.print(table, highlight=False)


def print_table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A title and a table on standard output; columns after the first are numbers."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for number, name in enumerate(head):
        table.add_column(name, justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    results.print(Text(title, style="bold"), soft_wrap=True)
    results.print(table, highlight=False)


def _readable(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)


def report(title: str, facts: Mapping[str, Any], *, as_json: bool) -> None:
    """The result of a verb: one JSON line for a script, a table for a person."""
    if as_json:
        print_json(facts)
    else:
        print_facts(title, facts)


def report_model(verb: str, folder: Path, config: SplareConfig, facts: Mapping[str, Any], *, as_json: bool) -> None:
    """The result of a verb that made a model, with more facts about it."""
    from splare_plugins.backbone.files import backbone_bytes

    made: dict[str, Any] = {"folder": str(folder), "model": f"{config.name} {config.revision}"}
    made |= {"backbone": config.backbone, "backbone_bytes": backbone_bytes(config, folder)}
    report(f"{verb} {folder}", {**made, **facts}, as_json=as_json)
