"""The plot of bench_growth.py."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter

# Okabe and Ito's colours, told apart by those who see fewer; and a marker each.
STYLES = {
    "lucene": ("Lucene", "#0072B2", "o"),
    "pisa": ("PISA", "#D55E00", "s"),
    "seismic": ("Seismic, exhaustive", "#009E73", "^"),
    "seismic fast": ("Seismic, fast", "#CC79A7", "v"),
    "memory": ("in memory", "#333333", "D"),
}
PANELS = (
    ("build_s", "building, CPU time (s)"),
    ("megabytes", "index on disk (MB)"),
    ("peak_mb", "peak memory of building (MB)"),
    ("median_ms", "a query, CPU time (ms); dashed: p99"),
)


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Four panels over the number of documents, both axes logarithmic; the dotted line is linear growth."""
    figure, axes = plt.subplots(2, 2, figsize=(9, 7), layout="constrained")
    counts = sorted({row["documents"] for row in rows})
    for axis, (name, label) in zip(axes.flat, PANELS, strict=True):
        for way, (title, colour, marker) in STYLES.items():
            own = [row for row in rows if row["way"] == way]
            places = [row["documents"] for row in own]
            if not own or (way == "seismic fast" and name != "median_ms"):
                continue
            style = {"color": colour, "marker": marker, "markersize": 5}
            axis.plot(places, [row[name] for row in own], label=title, linewidth=1.5, **style)
            if name == "median_ms":
                axis.plot(places, [row["p99_ms"] for row in own], linewidth=0.8, linestyle="--", alpha=0.7, **style)
        start = min(row[name] for row in rows if row["documents"] == counts[0]) * 0.7
        ends = [counts[0], counts[-1]]
        axis.plot(ends, [start, start * ends[1] / ends[0]], color="0.6", linestyle=":", linewidth=1, label="linear")
        axis.set(xscale="log", yscale="log", xlabel="documents", ylabel=label)
        axis.set_xticks(counts, [f"{count:,}" for count in counts])
        axis.minorticks_off()
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        axis.grid(which="major", color="0.9")
        axis.spines[["top", "right"]].set_visible(False)
    names = dict(zip(*reversed(axes.flat[-1].get_legend_handles_labels()), strict=True))
    figure.legend(names.values(), names.keys(), loc="outside lower center", ncols=6, frameon=False)
    figure.savefig(path, dpi=130)
