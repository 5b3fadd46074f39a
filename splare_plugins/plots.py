"""Plots for papers: one style for all, colours told apart by every eye, each figure as PDF and as PNG."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from splare_plugins.errors import MissingPartError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette (black last); the markers tell series apart in print without colour.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

_WIDE = 100  # where ticks at 1, 2, 5 of each power of ten would stand too close

_STYLE: dict[str, Any] = {
    "figure.figsize": (5.0, 3.2),
    "figure.constrained_layout.use": True,
    "savefig.dpi": 150,
    "pdf.fonttype": 42,  # text stays text, as publishers ask
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.9",
    "legend.frameon": False,
    "lines.linewidth": 1.5,
    "lines.markersize": 5,
}


@contextmanager
def figure(
    columns: int = 1, rows: int = 1, *, size: tuple[float, float] | None = None
) -> Iterator[tuple[Figure, Any]]:
    """A new figure with its axes (one, or an array of them), in the style of this module.

    Args:
        columns: Panels beside one another.
        rows: Panels below one another.
        size: Width and height in inches; by default 5 x 3.2 for one panel and a little less for each of several.

    Raises:
        MissingPartError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingPartError("plots need matplotlib; install it: pip install 'splare-plugins[plots]'") from None
    from cycler import cycler

    if size is None:
        size = (5.0, 3.2) if rows == columns == 1 else (3.6 * columns + 0.4, 2.9 * rows + 0.3)
    cycle = cycler(color=COLOURS) + cycler(marker=MARKERS)
    style: Any = {**_STYLE, "axes.prop_cycle": cycle}
    with mpl.rc_context(style):
        made = Figure(figsize=size)
        yield made, made.subplots(rows, columns)


def save(made: Figure, path: Path | str) -> list[Path]:
    """Write a figure as PDF and PNG beside each other, the same bytes each time.

    Args:
        made: The figure.
        path: Where, without an ending or with either of the two.

    Returns:
        The two files.
    """
    stem = Path(path)
    if stem.suffix in (".pdf", ".png"):
        stem = stem.with_suffix("")
    stem.parent.mkdir(parents=True, exist_ok=True)
    files = [stem.with_name(stem.name + ending) for ending in (".pdf", ".png")]
    made.savefig(files[0], metadata={"CreationDate": None})
    made.savefig(files[1], metadata={"Software": None})
    return files


def lines(
    axes: Axes,
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    x: str,
    y: str,
    log: bool = False,
    base: int = 10,
) -> None:
    """Curves with a marker at each measured point, and a legend where there are several.

    Args:
        axes: Where to draw.
        series: Name of a curve -> its places and values.
        x: Label of the horizontal axis, with its unit.
        y: Label of the vertical axis, with its unit.
        log: Whether the horizontal axis is logarithmic; it then has a tick at each place.
        base: Of that logarithm.
    """
    for name, (places, values) in series.items():
        axes.plot(places, values, label=name)
    if log:
        ticks = sorted({place for places, _ in series.values() for place in places})
        axes.set_xscale("log", base=base)
        axes.set_xticks(ticks, [f"{tick:,g}" for tick in ticks])
        axes.minorticks_off()
    axes.set(xlabel=x, ylabel=y)
    if len(series) > 1:
        axes.legend()


def bars(
    axes: Axes,
    values: Mapping[str, Mapping[str, float]],
    *,
    y: str,
    errors: Mapping[str, Mapping[str, tuple[float, float]]] | None = None,
) -> None:
    """Groups of bars: a group for each collection or the like, a bar in it for each series.

    Args:
        axes: Where to draw.
        values: Series -> group -> value; a group that a series lacks is left free.
        y: Label of the vertical axis, with its unit.
        errors: Series -> group -> lower and upper end of an interval, where there is one.
    """
    groups = list(dict.fromkeys(group for series in values.values() for group in series))
    width = 0.8 / len(values)
    for index, (name, series) in enumerate(values.items()):
        places = [groups.index(group) + (index - (len(values) - 1) / 2) * width for group in series]
        heights = np.array(list(series.values()))
        ends = None
        if errors is not None and name in errors:
            ends = np.abs(np.array([errors[name][group] for group in series]).T - heights)
        hatch = "///" if index >= len(COLOURS) else None  # where colours come again
        made = axes.bar(places, heights, width=width * 0.92, label=name, yerr=ends, error_kw={"linewidth": 0.8})
        for bar in made:
            bar.set(hatch=hatch)
    axes.set_xticks(range(len(groups)), groups)
    axes.grid(visible=False, axis="x")
    axes.set(ylabel=y)
    if len(values) > 1:
        axes.legend()


def points(axes: Axes, values: Mapping[str, tuple[float, float]], *, names: Sequence[str], x: str, y: str) -> None:
    """Single points on a logarithmic axis, such as what each system costs and how good it is.

    Args:
        axes: Where to draw.
        values: Name -> its place and value.
        names: All names that panels beside this one share, so that each looks the same in all of them.
        x: Label of the horizontal axis, with its unit.
        y: Label of the vertical axis, with its unit.
    """
    for name, (place, value) in values.items():
        turn, index = divmod(names.index(name), len(COLOURS))
        marker = MARKERS[(index + turn) % len(MARKERS)]
        axes.plot([place], [value], color=COLOURS[index], marker=marker, linestyle="", label=name)
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullLocator

    axes.set_xscale("log")
    places = [place for place, _ in values.values()]
    few = max(places) < _WIDE * min(places)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,)))
    axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.margins(x=0.12)
    axes.set(xlabel=x, ylabel=y)


def legend_above(made: Figure, *, names: Sequence[str], columns: int = 4) -> None:
    """One legend over all panels, in place of theirs.

    Args:
        made: The figure.
        names: All that panels may show, in the order of the legend.
        columns: Most names beside one another.
    """
    entries: dict[str, Any] = {}
    for axes in made.axes:
        entries |= {str(label): handle for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
        if (own := axes.get_legend()) is not None:
            own.remove()
    shown = [name for name in names if name in entries]
    handles = [entries[name] for name in shown]
    made.legend(handles, shown, loc="outside upper center", ncols=min(columns, len(shown)))


def heat_map(
    axes: Axes,
    values: Sequence[Sequence[float]],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    x: str,
    y: str,
    limits: tuple[float, float] | None = None,
    digits: int = 2,
) -> None:
    """A table of figures as colours, each with its figure in it.

    Args:
        axes: Where to draw.
        values: A list of values for each row; a cell without one is NaN and stays empty.
        rows: Names of the rows.
        columns: Names of the columns.
        x: What the columns are.
        y: What the rows are.
        limits: The values of the darkest and of the lightest colour; the smallest and the largest by default.
            Give the same ones to maps that a reader is to compare.
        digits: Of a figure after the point.
    """
    table = np.asarray(values, dtype=np.float64)
    low, high = limits or (float(np.nanmin(table)), float(np.nanmax(table)))
    axes.imshow(table, cmap="cividis", vmin=low, vmax=high, aspect="auto")
    for (row, column), value in np.ndenumerate(table):
        if np.isnan(value):
            continue
        dark = value < low + 0.55 * (high - low)
        axes.text(column, row, f"{value:.{digits}f}", ha="center", va="center", color="white" if dark else "black")
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set(xlabel=x, ylabel=y)


def lorenz(axes: Axes, usage: Mapping[str, Sequence[float]], *, x: str, y: str) -> dict[str, float]:
    """Lorenz curves: what share of all use falls on the least used part. The diagonal is equal use of all.

    Args:
        axes: Where to draw.
        usage: Series -> how often each latent, or each word of a vocabulary, is used; those never used count too.
        x: Label of the horizontal axis.
        y: Label of the vertical axis.

    Returns:
        The Gini coefficient of each series: 0 where all are used alike, near 1 where a few take all. It is 1 minus
        twice the area under the curve.
    """
    gini = {}
    for name, counts in usage.items():
        share = np.concatenate([[0.0], np.cumsum(np.sort(np.asarray(counts, dtype=np.float64)))])
        share /= share[-1] or 1.0
        places = np.linspace(0.0, 1.0, len(share))
        gini[name] = float(1 - 2 * np.trapezoid(share, places))
        axes.plot(places, share, label=f"{name} (Gini {gini[name]:.2f})", marker="")
    axes.plot([0, 1], [0, 1], color="0.6", linestyle=":", linewidth=1, marker="")
    axes.set(xlabel=x, ylabel=y, xlim=(0, 1), ylim=(0, 1))
    axes.legend(loc="upper left")
    return gini
