"""Tables of an experiment, in Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from splare_plugins.experiment.systems import Costs
from splare_plugins.machine.files import write_whole
from splare_plugins.retrieval.significance import Comparison

MARK = "*"
FOLDER = "tables"
SHOWN = ("figures", "costs")
_MEGABYTE = 1e6

Runs = Mapping[tuple[str, str], Mapping[str, float]]
"""Means by measure, by collection and system."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Cells as they are shown.

    Attributes:
        title: what they are.
        head: names of the columns; all but the first are numbers, but where ``words`` says otherwise.
        rows: one cell a column.
        note: a sentence below.
        words: columns of words, from the left.
    """

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    words: int = 1

    def markdown(self) -> str:
        """With columns of one width, so that it can be read as it is."""
        widths = [max(len(row[column]) for row in (self.head, *self.rows)) for column in range(len(self.head))]
        sides = [str.ljust if column < self.words else str.rjust for column in range(len(self.head))]
        rule = [
            "-" * max(3, width) if side is str.ljust else "-" * max(2, width - 1) + ":"
            for side, width in zip(sides, widths, strict=True)
        ]
        lines = [
            "| "
            + " | ".join(side(cell, max(3, width)) for cell, side, width in zip(row, sides, widths, strict=True))
            + " |"
            for row in (self.head, rule, *self.rows)
        ]
        return "\n".join([self.title, "", *lines, *(["", self.note] if self.note else [])]) + "\n"

    def csv(self) -> str:
        """Head and rows."""
        stream = io.StringIO()
        csv.writer(stream, lineterminator="\n").writerows([self.head, *self.rows])
        return stream.getvalue()

    def latex(self) -> str:
        """A ``tabular`` that needs no package."""
        columns = "l" * self.words + "r" * (len(self.head) - self.words)
        lines = [" & ".join(map(_latex, row)) + r" \\" for row in (self.head, *self.rows)]
        note = [f"% {self.note}"] if self.note else []
        body = [rf"\begin{{tabular}}{{{columns}}}", r"\hline", lines[0], r"\hline", *lines[1:], r"\hline"]
        return "\n".join([f"% {self.title}", *note, *body, r"\end{tabular}"]) + "\n"

    def write(self, folder: Path, name: str) -> None:
        """The three of them."""
        for ending, text in (("md", self.markdown()), ("csv", self.csv()), ("tex", self.latex())):
            write_whole(folder / FOLDER / f"{name}.{ending}", text.encode())


def figures_table(means: Runs, comparisons: Sequence[tuple[str, Comparison]], baseline: str, alpha: float) -> Table:
    """Systems by collections and measures, with a mark at what differs from the baseline."""
    collections = list(dict.fromkeys(collection for collection, _ in means))
    systems = list(dict.fromkeys(system for _, system in means))
    measures = list(next(iter(means.values())))
    marked = {
        (collection, each.run, each.measure) for collection, each in comparisons if each.randomisation_holm < alpha
    }
    rows = [
        [
            system,
            *(
                f"{means[collection, system][measure]:.4f}" + MARK * ((collection, system, measure) in marked)
                for collection in collections
                for measure in measures
            ),
        ]
        for system in systems
    ]
    note = (
        f"{MARK} differs from {baseline}: p < {alpha:g} by the paired randomisation test, after Holm's correction "
        f"over {len(comparisons)} comparisons."
    )
    head = ["system", *(f"{collection} {measure}" for collection in collections for measure in measures)]
    return Table(title="Means over judged queries", head=head, rows=rows, note=note if comparisons else "")


def costs_table(costs: Mapping[tuple[str, str], Costs]) -> Table:
    """What each system costs on each collection."""
    head = [
        "collection",
        "system",
        "query latents",
        "document latents",
        "FLOPS",
        "index MB",
        "median ms",
        "p95 ms",
        "p99 ms",
        "re-ranked",
    ]
    rows = [
        [
            *names,
            *(_number(value, 1) for value in (each.query_latents, each.document_latents)),
            _number(each.flops, 3),
            _number(each.index_bytes and each.index_bytes / _MEGABYTE, 2),
            *(_number(value, 2) for value in (each.median_ms, each.p95_ms, each.p99_ms)),
            _number(each.reranked, 1),
        ]
        for names, each in costs.items()
    ]
    note = "Latents are means of a text, FLOPS the expected products of a pair, times those of one search at a time."
    if any(each.reranked is not None for each in costs.values()):
        note += " Where documents are re-ranked, times are those of that stage alone."
    return Table(title="Costs", head=head, rows=rows, note=note, words=2)


def comparisons_table(comparisons: Sequence[tuple[str, Comparison]], baseline: str) -> Table:
    """All that the tests gave."""
    names = [field.name for field in fields(Comparison)]
    rows = [[collection, *(_cell(value) for value in astuple(each))] for collection, each in comparisons]
    return Table(title=f"Beside {baseline}", head=["collection", *names], rows=rows, words=3)


def _number(value: float | None, places: int) -> str:
    return "-" if value is None else f"{value:.{places}f}"


def _cell(value: object) -> str:
    return f"{value:.6f}" if isinstance(value, float) else str(value)


def _latex(cell: str) -> str:
    plain = re.sub(r"([&%$#_{}])", r"\\\1", cell.removesuffix(MARK))
    return plain + ("$^{*}$" if cell.endswith(MARK) else "")
