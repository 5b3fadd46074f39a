"""Who may import whom: the contracts of pyproject.toml, and no circle among modules."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import grimp
import pytest
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

ROOT = Path(__file__).parents[1]
PACKAGES = ("splare_plugins", "pyserini_splare", "pyterrier_splare", "opensearch_splare")


@pytest.fixture(autouse=True)
def sources(monkeypatch: pytest.MonkeyPatch) -> None:
    """The packages of this checkout, wherever others are installed."""
    monkeypatch.chdir(ROOT)
    for folder in (ROOT / "opensearch", ROOT):
        monkeypatch.syspath_prepend(str(folder))


def circles(imports: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import one another, however long the way round."""
    names = sorted(imports)
    number = {name: row for row, name in enumerate(names)}
    pairs = [(number[one], number[other]) for one in names for other in imports[one]]
    rows, columns = zip(*pairs, strict=True)
    graph = csr_array(([1] * len(pairs), (rows, columns)), shape=(len(names), len(names)))
    _, group = connected_components(graph, directed=True, connection="strong")
    groups = [[name for name in names if group[number[name]] == label] for label in set(group.tolist())]
    return [members for members in groups if len(members) > 1]


def test_rooms_import_only_what_is_below_them() -> None:
    # In a process of its own: import-linter sets up logging, which would silence what later tests look for.
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    path = os.pathsep.join(map(str, (ROOT, ROOT / "opensearch")))
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_modules_import_one_another() -> None:
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    assert circles({name: graph.find_modules_directly_imported_by(name) for name in graph.modules}) == []


def test_a_circle_is_found() -> None:
    chain = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}
    assert circles(chain) == [["a", "b", "c"]]
