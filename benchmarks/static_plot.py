"""The plot of bench_static_queries.py: what a query costs against what it finds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter

# Okabe and Ito's colours, told apart by those who see fewer; and a marker each.
STYLES = {
    "BM25": ("#333333", "D"),
    "table": ("#D55E00", "s"),
    "table + BM25": ("#CC79A7", "P"),
    "tiny SPLADE": ("#E69F00", "v"),
    "OpenVINO bfloat16": ("#009E73", "^"),
    "torch float32": ("#0072B2", "o"),
}


def draw(milliseconds: Mapping[str, float], quality: Mapping[str, Mapping[str, float]], path: Path) -> None:
    """One panel for each set of collections.

    Args:
        milliseconds: CPU time of a query, text to impacts or terms, by system.
        quality: nDCG@10 by system, for each set.
        path: PNG to write.
    """
    figure, panels = plt.subplots(1, len(quality), figsize=(4.4 * len(quality), 3.6), layout="constrained")
    for axis, (title, found) in zip(panels, quality.items(), strict=True):
        for system, (colour, marker) in STYLES.items():
            if system in found:
                place = (milliseconds[system], found[system])
                axis.scatter(*place, color=colour, marker=marker, s=48, label=system, zorder=3)
        axis.set(xscale="log", title=title, xlabel="CPU time of encoding a query (ms)", ylabel="nDCG@10", ylim=(0, 1))
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.grid(color="0.9")
        axis.spines[["top", "right"]].set_visible(False)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=6, frameon=False)
    figure.savefig(path, dpi=130)
    plt.close(figure)
