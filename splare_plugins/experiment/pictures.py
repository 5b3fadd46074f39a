"""Plots of a finished experiment: effectiveness, what it costs, and languages beside one another."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.stats import bootstrap

from splare_plugins import plots
from splare_plugins.experiment.results import Results

LEVEL = 0.95
_RESAMPLES = 2000
_MEGABYTE = 1e6
_COSTS = {
    "flops": ("FLOPS (products a pair)", 1.0),
    "index_bytes": ("index (MB)", _MEGABYTE),
    "median_ms": ("median time of a search (ms)", 1.0),
}
_PAIR = re.compile(r"xquad/(\w+)-(\w+)")
_PANELS = 4
_FEWEST = 2


def draw(results: Results, folder: Path) -> list[Path]:
    """Write every plot that the experiment has the data for, as PDF and PNG.

    Args:
        results: of the experiment.
        folder: where the plots go.

    Returns:
        the files.

    Raises:
        MissingPartError: if matplotlib is not installed.
    """
    files: list[Path] = []
    for measure in next(iter(results.values.values())):
        name = re.sub(r"[^\w@.+-]+", "-", measure)
        files += _effectiveness(results, measure, folder / f"effectiveness-{name}")
        files += _costs(results, measure, folder / f"costs-{name}")
        files += _languages(results, measure, folder / f"languages-{name}")
    return files


def interval(values: np.ndarray, seed: int) -> tuple[float, float]:
    """The interval that holds the mean, by resampling queries; the same each time."""
    found = bootstrap(
        (values,), np.mean, n_resamples=_RESAMPLES, batch=200, confidence_level=LEVEL, method="percentile", rng=seed
    ).confidence_interval
    return float(found.low), float(found.high)


def _effectiveness(results: Results, measure: str, path: Path) -> list[Path]:
    """Bars of each system at each collection."""
    heights: dict[str, dict[str, float]] = {}
    ends: dict[str, dict[str, tuple[float, float]]] = {}
    for (collection, system), measures in results.values.items():
        heights.setdefault(system, {})[collection] = float(measures[measure].mean())
        ends.setdefault(system, {})[collection] = interval(measures[measure], results.config.seed)
    bars = len(results.values)
    with plots.figure(size=(max(5.0, 1.0 + 0.13 * bars), 3.4)) as (made, axes):
        plots.bars(axes, heights, y=f"{measure} (with {LEVEL:.0%} interval)", errors=ends)
        axes.margins(x=0.02)
        plots.legend_above(made, names=list(heights))
        return plots.save(made, path)


def _costs(results: Results, measure: str, path: Path) -> list[Path]:
    """Each system's effectiveness against what it costs, both as means over the collections."""
    panels = []
    for field, (label, unit) in _COSTS.items():
        points = dict(_points(results, measure, field, unit))
        if len(points) > 1:
            panels.append((label, points))
    if not panels:
        return []
    several = len(results.config.collections) > 1
    y = f"{measure}, mean over collections" if several else f"{measure}, {results.config.collections[0].name}"
    systems = [system.name for system in results.config.systems]
    with plots.figure(len(panels), size=(2.9 * len(panels) + 0.4, 3.2)) as (made, axes):
        every = np.atleast_1d(axes)
        for number, (each, (label, points)) in enumerate(zip(every, panels, strict=True)):
            if number:
                each.sharey(every[0])
            plots.points(each, points, names=systems, x=label, y="" if number else y)
        plots.legend_above(made, names=systems)
        return plots.save(made, path)


def _points(results: Results, measure: str, field: str, unit: float) -> Iterator[tuple[str, tuple[float, float]]]:
    for system in results.config.systems:
        names = [names for names in results.values if names[1] == system.name]
        costs = [getattr(results.costs[each], field) for each in names]
        # A second stage's times lack those of the first, so they say nothing beside whole searches.
        if None in costs or system.kind == "rerank":
            continue
        mean = float(np.mean([results.values[each][measure].mean() for each in names]))
        yield system.name, (float(np.mean(costs)) / unit, mean)


def _languages(results: Results, measure: str, path: Path) -> list[Path]:
    """A map of query and document languages for each system, all with the same colours."""
    pairs = {each.name: tuple(found.groups()) for each in results.config.collections if (found := _pair(each.name))}
    asked, answered = (list(dict.fromkeys(pair[side] for pair in pairs.values())) for side in (0, 1))
    if len(pairs) < _FEWEST:  # one cell is not a map
        return []
    maps = {}
    for system in results.config.systems:
        table = np.full((len(asked), len(answered)), np.nan)
        for name, (query, document) in pairs.items():
            cell = asked.index(query), answered.index(document)
            table[cell] = results.values[name, system.name][measure].mean()
        maps[system.name] = table
    every = np.stack(list(maps.values()))
    limits = float(np.nanmin(every)), float(np.nanmax(every))
    columns = min(_PANELS, len(maps))
    rows = -(-len(maps) // columns)
    size = (columns * (0.42 * len(answered) + 0.9), rows * (0.32 * len(asked) + 1.1))
    with plots.figure(columns, rows, size=size) as (made, axes):
        panels = np.atleast_1d(axes).ravel()
        for number, (panel, (name, table)) in enumerate(zip(panels, maps.items(), strict=False)):
            left, below = number % columns == 0, number + columns >= len(maps)
            x, y = "documents" if below else "", "queries" if left else ""
            plots.heat_map(panel, table.tolist(), rows=asked, columns=answered, x=x, y=y, limits=limits)
            panel.set_title(name, fontsize="medium")
        for panel in panels[len(maps) :]:
            panel.set_visible(False)
        made.suptitle(measure, fontsize="medium")
        return plots.save(made, path)


def _pair(name: str) -> re.Match[str] | None:
    return _PAIR.fullmatch(name)
