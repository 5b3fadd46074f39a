"""Plots: two files that stay the same, colours and figures as they were given."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex

from splare_plugins import plots
from splare_plugins.errors import MissingPartError


def drawn(path: Path) -> list[bytes]:
    with plots.figure() as (figure, axes):
        plots.lines(axes, {"one": ([10, 40], [0.5, 0.6]), "two": ([20], [0.7])}, x="latents", y="nDCG@10", log=True)
    assert [text.get_text() for text in axes.get_xticklabels()] == ["10", "20", "40"]
    assert [to_hex(line.get_color()).upper() for line in axes.lines] == list(plots.COLOURS[:2])
    return [file.read_bytes() for file in plots.save(figure, path)]


def test_a_figure_is_a_pdf_and_a_png_of_the_same_bytes_each_time(tmp_path: Path) -> None:
    first = drawn(tmp_path / "plots" / "k=1.5 once.png")
    assert sorted(file.name for file in (tmp_path / "plots").iterdir()) == ["k=1.5 once.pdf", "k=1.5 once.png"]
    assert [content[:4] for content in first] == [b"%PDF", b"\x89PNG"]
    assert drawn(tmp_path / "plots" / "k=1.5 once") == first


def test_an_ending_that_is_a_figure_stays(tmp_path: Path) -> None:
    with plots.figure() as (figure, _):
        files = plots.save(figure, tmp_path / "budget 0.5")
    assert [file.name for file in files] == ["budget 0.5.pdf", "budget 0.5.png"]


def test_bars_stand_at_their_group(tmp_path: Path) -> None:
    values = {"BM25": {"scifact": 0.6, "de": 0.1}, "SPLARE": {"de": 0.8}}
    with plots.figure() as (_, axes):
        plots.bars(axes, values, y="nDCG@10", errors={"SPLARE": {"de": (0.7, 0.85)}})
    assert [(round(bar.get_x() + bar.get_width() / 2, 2), bar.get_height()) for bar in axes.patches] == [
        (-0.2, 0.6),
        (0.8, 0.1),
        (1.2, 0.8),
    ]


def test_more_bars_than_colours_are_hatched() -> None:
    with plots.figure() as (_, axes):
        plots.bars(axes, {str(number): {"one": 0.5} for number in range(8)}, y="nDCG@10")
    assert [bar.get_hatch() for bar in axes.patches] == [None] * 7 + ["///"]


def test_points_look_alike_in_every_panel_and_none_is_left_out() -> None:
    names = [f"system {number}" for number in range(9)]
    first, second = {names[8]: (0.5, 0.8), names[1]: (2.0, 0.9)}, {names[1]: (0.001, 0.9), names[0]: (5.0, 0.1)}
    with plots.figure(2) as (figure, (left, right)):
        right.sharey(left)
        plots.points(left, first, names=names, x="FLOPS", y="nDCG@10")
        plots.points(right, second, names=names, x="MB", y="")
        plots.legend_above(figure, names=names)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [names[0], names[1], names[8]]
    looks = {
        (line.get_label(), to_hex(line.get_color()), str(line.get_marker()))
        for axes in (left, right)
        for line in axes.lines
    }
    assert len(looks) == 3 and len({look[1:] for look in looks}) == 3
    low, high = left.get_ylim()
    assert low < 0.1 and high > 0.9
    assert {tick for tick in left.get_xticks() if 0.4 < tick < 2.1} == {0.5, 1, 2}
    assert 0.2 not in right.get_xticks()


def test_a_cell_without_a_value_stays_empty() -> None:
    with plots.figure() as (_, axes):
        plots.heat_map(axes, [[math.nan, 0.5]], rows=["a"], columns=["b", "c"], x="", y="")
    assert [text.get_text() for text in axes.texts] == ["0.50"]


def test_a_heat_map_holds_its_figures() -> None:
    with plots.figure() as (_, axes):
        plots.heat_map(
            axes, [[0.0, 0.25], [0.5, 1.0]], rows=["a", "b"], columns=["c", "d"], x="documents", y="queries"
        )
    assert [(text.get_text(), text.get_color()) for text in axes.texts] == [
        ("0.00", "white"),
        ("0.25", "white"),
        ("0.50", "white"),
        ("1.00", "black"),
    ]


def test_gini() -> None:
    with plots.figure() as (_, axes):
        gini = plots.lorenz(axes, {"equal": [3] * 1000, "one": [0] * 999 + [5], "none": [0, 0]}, x="", y="")
    assert gini["equal"] == pytest.approx(0, abs=1e-12)
    assert gini["one"] == pytest.approx(0.999)
    assert math.isfinite(gini["none"])
    shares = np.asarray(axes.lines[1].get_ydata())
    assert shares[-2:].tolist() == [0, 1]


def test_without_matplotlib_its_install_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingPartError, match=r"pip install 'splare-plugins\[plots\]'"), plots.figure():
        raise AssertionError
