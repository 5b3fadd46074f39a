"""The tables of figures in README.md and docs/figures.md, made from the records in ``results``.

A record is what a full run of a script writes with ``--json benchmarks/results/NAME.json``. A table stands between two
comments in its page; ``python benchmarks/table.py --write`` makes it anew, and without an option the tables are
printed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from harness import Figure

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
BEGIN, END = "<!-- figures: benchmarks/table.py writes what follows -->", "<!-- end of figures -->"
# The order of the long table; a script that is not named comes last.
ORDER = (
    "bench_lucene_indexing.py",
    "bench_lucene_search.py",
    "bench_encoding.py",
    "bench_runtimes.py",
    "bench_static_queries.py",
    "bench_pipeline.py",
    "bench_growth.py",
    "bench_pooling.py",
    "bench_training.py",
    "bench_index_memory.py",
    "bench_splade_reference.py",
    "bench_pyterrier_encoding.py",
    "bench_pyterrier_overhead.py",
    "bench_pyterrier_indexes.py",
    "bench_opensearch_bulk.py",
    "bench_opensearch_search.py",
    "bench_serving.py",
    "bench_quality.py",
    "bench_gpu_encoding.py",
)
# What README.md shows: the first figure of each.
HEADLINES = ("bench_lucene_indexing.py", "bench_lucene_search.py", "bench_encoding.py", "bench_opensearch_bulk.py")


def read_records(folder: Path) -> list[Figure]:
    """All figures of the records in ``folder``, in the order of the table."""
    figures = [
        Figure(**figure)
        for path in sorted(folder.glob("*.json"))
        for figure in json.loads(path.read_text(encoding="utf-8"))["figures"]
    ]
    return sorted(figures, key=lambda figure: _place(script(figure)))


def script(figure: Figure) -> str:
    """The script that measured a figure."""
    return figure.command.partition(" ")[0]


def _place(name: str) -> int:
    return ORDER.index(name) if name in ORDER else len(ORDER)


def long_table(figures: Iterable[Figure]) -> str:
    """All figures, with their aims."""
    rows = [(figure.what, figure.against, ratios(figure), aims(figure), f"`{figure.command}`") for figure in figures]
    return markdown(("what", "against", "ratio", "aim", "command (`python benchmarks/...`)"), rows)


def small_table(figures: Iterable[Figure]) -> str:
    """All figures of small runs, which say nothing about the aims."""
    rows = [(figure.what, figure.against, ratios(figure)) for figure in figures]
    return markdown(("what, with little data", "against", "ratio"), rows)


def short_table(figures: Sequence[Figure]) -> str:
    """The headlines."""
    chosen = [next(figure for figure in figures if script(figure) == name) for name in HEADLINES]
    rows = [(figure.what, figure.against, ratios(figure), f"`{figure.command}`") for figure in chosen]
    return markdown(("what", "against", "result", "command (`python benchmarks/...`)"), rows)


def ratios(figure: Figure) -> str:
    """Each ratio with its unit; a unit that all share stands once."""
    values = [number(value) for value in figure.ratio]
    if len(set(figure.unit)) == 1:
        unit = figure.unit[0]
        each = "x " if unit.startswith("x ") else ""
        return "; ".join(f"{value} {each}".strip() for value in values) + " " + unit.removeprefix(each)
    return "; ".join(f"{value} {unit}" for value, unit in zip(values, figure.unit, strict=True))


def aims(figure: Figure) -> str:
    """What was wanted, marked where it is missed."""
    if figure.aims is None:
        return "-"
    wanted = "; ".join(number(aim) for aim in (figure.aims if len(set(figure.aims)) > 1 else figure.aims[:1]))
    return f"{'' if figure.at == 'least' else 'at most '}{wanted}{'' if figure.reached() else ', missed'}"


def number(value: float) -> str:
    """Three digits at most, as a person writes them."""
    if abs(value) >= 1000:
        return f"{float(f'{value:.3g}'):,.0f}"
    if value != 0 and abs(value) < 0.01:
        return f"{value:.1g}" if abs(value) < 1e-3 else f"{value:.4f}".rstrip("0")
    return f"{value:.0f}" if abs(value) >= 20 else f"{value:.3g}"


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def with_table(page: str, table: str, comment: str = BEGIN) -> str:
    """The page with another table between ``comment`` and the next :data:`END`."""
    before, begin, rest = page.partition(comment)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"table.py: a page lacks its two comments, {comment} and {END}")
    return f"{before}{begin}\n{table}\n{end}{after}"


def pages() -> dict[Path, str]:
    """Each page with a table, as it should be."""
    figures = read_records(RESULTS)
    tables = {ROOT / "README.md": short_table(figures), ROOT / "docs" / "figures.md": long_table(figures)}
    return {path: with_table(path.read_text(encoding="utf-8"), table) for path, table in tables.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the tables into their pages")
    if parser.parse_args().write:
        for path, text in pages().items():
            path.write_text(text, encoding="utf-8")
    else:
        figures = read_records(RESULTS)
        print(short_table(figures), long_table(figures), sep="\n\n")


if __name__ == "__main__":
    main()
