"""Constants of ``splare estimate``, fitted to the records in ``results``; and the tables of docs/capacity.md.

Each is a straight line in the number of postings, fitted by its relative errors and without a negative term.
``python benchmarks/capacity.py --write`` makes ``splare_plugins/retrieval/capacity.json`` and the tables anew.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from scipy.optimize import nnls
from table import RESULTS, ROOT, markdown, with_table

from splare_plugins.retrieval.estimate import Load, estimate_encoding, estimate_index

CONSTANTS = ROOT / "splare_plugins" / "retrieval" / "capacity.json"
PAGE = ROOT / "docs" / "capacity.md"
COMMENT = "<!-- capacity, table {}: benchmarks/capacity.py writes what follows -->"
# Of a row of bench_growth.py: its name here, and in how many units it is there.
LINES = {
    "index_bytes": ("megabytes", 1e6),
    "build_cpu_hours": ("build_s", 1 / 3600),
    "build_memory_bytes": ("peak_mb", 1e6),
    "search_memory_bytes": ("search_peak_mb", 1e6),
    "latency_ms": ("median_ms", 1.0),
}
COUNTS = (10**6, 10**7, 10**8, 10**9)


def record(name: str) -> dict[str, Any]:
    """A record of a full run."""
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return found


def growth_rows() -> list[dict[str, Any]]:
    """Whole queries in each engine's own default, which is exact; and what was measured on a node of OpenSearch."""
    rows = [row for row in record("growth")["rows"] if row["cut"] is None and not row["settings"]]
    return rows + record("opensearch_search")["rows"]


def fit(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Constants of one engine."""
    postings = np.array([row["postings"] for row in rows], dtype=float)
    found: dict[str, Any] = {}
    for name, (column, unit) in LINES.items():
        if all(column in row for row in rows):
            values = np.array([row[column] * unit for row in rows])
            # By relative errors; what takes less than a second is not told apart.
            weights = 1 / np.maximum(values, 1 / 3600 if name == "build_cpu_hours" else 0)
            terms = np.stack([np.ones_like(postings), postings / postings.max()], axis=1) * weights[:, None]
            constant, slope = nnls(terms, values * weights)[0]
            found[name] = [float(constant), float(slope / postings.max())]
    found["measured_up_to"] = int(max(row["documents"] for row in rows))
    return found


def constants() -> dict[str, Any]:
    """All of them."""
    rows = growth_rows()
    engines = list(dict.fromkeys(row["engine"] for row in rows))
    encoding = record("encoding")["rows"]
    return {
        "engines": {engine: fit([row for row in rows if row["engine"] == engine]) for engine in engines},
        "encoding": {
            "encoded_bytes_per_posting": record("growth")["encoded_bytes_per_posting"],
            "core_flops_per_second": {row["way"]: row["flops"] / row["seconds"] for row in encoding},
            "gpu": [
                {"name": row["name"], "flops_per_token": row["flops_per_token"], "flops_per_second": row["rate"]}
                for row in record("gpu_encoding")["rows"]
            ],
        },
    }


def rounded(values: Any) -> Any:
    """The same with four digits, which is more than they are worth."""
    if isinstance(values, dict):
        return {name: rounded(value) for name, value in values.items()}
    if isinstance(values, list):
        return [rounded(value) for value in values]
    return float(f"{values:.4g}") if isinstance(values, float) else values


def errors(measured: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """How far the formulas are from each row, in per cent."""
    for row in growth_rows():
        load = Load(documents=row["documents"], latents=row["postings"] / row["documents"])
        found = estimate_index(row["engine"], load, measured)
        cells = []
        for name, (column, unit) in LINES.items():
            cells.append(f"{100 * (found[name] / (row[column] * unit) - 1):+.0f} %" if column in row else "-")
        yield row["engine"], f"{row['documents']:,}", *cells


def table_of_errors(measured: dict[str, Any]) -> str:
    """The first table of the page."""
    head = ("engine", "documents", "bytes", "build CPU time", "memory, building", "memory, searching", "latency")
    return markdown(head, errors(measured))


def table_of_sizes(measured: dict[str, Any]) -> str:
    """The second: what 1M to 1B documents take."""
    head = ("documents", "engine", "index", "building, one core", "memory for it", "memory to search", "median query")
    rows = []
    for count in COUNTS:
        for engine, found in measured["engines"].items():
            values = estimate_index(engine, Load(documents=count), measured)
            beyond = "" if count <= found["measured_up_to"] else " *"
            rows.append(
                (
                    f"{count:,}",
                    engine + beyond,
                    size(values.get("index_bytes")),
                    hours(values.get("build_cpu_hours")),
                    size(values.get("build_memory_bytes")),
                    size(values.get("search_memory_bytes")),
                    milliseconds(values["latency_ms"]),
                )
            )
    return markdown(head, rows)


def table_of_encoding(measured: dict[str, Any]) -> str:
    """The third: encoding on the measured card, and on cores, for the shapes of three models."""
    names = [point["name"] for point in measured["encoding"]["gpu"]]
    shapes = (f"{name}, H200" for name in names)
    head = ("documents of 200 tokens", "Parquet", *shapes, "small, one core: int8; float32")
    rows = []
    for count in COUNTS:
        load = Load(documents=count)
        each = [estimate_encoding(point["flops_per_token"], load, measured) for point in measured["encoding"]["gpu"]]
        smallest = each[names.index("small")]
        cores = "; ".join(hours(smallest[f"core_hours_{name}"]) for name in ("int8", "float32"))
        rows.append(
            (f"{count:,}", size(smallest["encoded_bytes"]), *(hours(values["gpu_hours"]) for values in each), cores)
        )
    return markdown(head, rows)


def size(value: float | None) -> str:
    """Bytes as a person reads them."""
    if value is None:
        return "-"
    units = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"))
    unit, name = next((each for each in units if value >= each[0]), units[-1])
    return f"{value / unit:.3g} {name}" if value / unit < 100 else f"{value / unit:.0f} {name}"


def hours(value: float | None) -> str:
    """Hours, minutes or days."""
    if value is None:
        return "-"
    if value < 1:
        return f"{60 * value:.2g} min"
    return f"{value:.2g} h" if value < 100 else f"{value / 24:,.0f} days"


def milliseconds(value: float) -> str:
    """Two digits."""
    return f"{value:.2g} ms" if value < 100 else f"{value / 1000:.2g} s"


def page(measured: dict[str, Any]) -> str:
    """docs/capacity.md as it should be."""
    text = PAGE.read_text(encoding="utf-8")
    tables = (table_of_sizes, table_of_encoding, table_of_errors)
    for number, table in enumerate(make(measured) for make in tables):
        text = with_table(text, table, COMMENT.format(number + 1))
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the constants and the page")
    measured = rounded(constants())
    if parser.parse_args().write:
        CONSTANTS.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
        PAGE.write_text(page(measured), encoding="utf-8")
    else:
        print(json.dumps(measured, indent=1), table_of_errors(measured), sep="\n\n")


if __name__ == "__main__":
    main()
