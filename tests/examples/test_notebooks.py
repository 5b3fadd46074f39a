"""Every notebook of the examples runs from top to bottom, on a cut copy of the bundled data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.cli.conftest import DATA, cut

NOTEBOOKS = sorted([*DATA.parent.glob("*.ipynb"), *DATA.parent.glob("ablations/*.ipynb")])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``examples/data`` with 10 paragraphs and 24 abstracts, which are judged for 2 claims.

    With fewer paragraphs BM25 finds nothing for Chinese questions, which ``pt.Experiment`` refuses.
    """
    folder = tmp_path_factory.mktemp("examples") / "data"
    for language in ("en", "de", "zh"):
        cut(DATA / "xquad" / language, folder / "xquad" / language, 10)
    cut(DATA / "scifact", folder / "scifact", 24)
    return folder


def test_there_are_notebooks() -> None:
    assert {"joint.ipynb", "opensearch.ipynb", "pyterrier.ipynb"} <= {notebook.name for notebook in NOTEBOOKS}


def needing_java(notebook: Path) -> Any:
    marks = [pytest.mark.java] if notebook.stem == "opensearch" else []
    return pytest.param(notebook, marks=marks, id=notebook.stem)


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.parametrize("notebook", [needing_java(notebook) for notebook in NOTEBOOKS])
def test_a_notebook_runs_from_top_to_bottom(
    notebook: Path, data: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if notebook.stem == "opensearch":  # the session's node; by itself the notebook starts another
        monkeypatch.setenv("OPENSEARCH_URL", request.getfixturevalue("opensearch_url"))
    cells = nbformat.read(notebook, as_version=4)
    where = {"metadata": {"path": str(data.parent)}}
    NotebookClient(cells, timeout=300, kernel_name="python3", resources=where).execute()
    code = [cell for cell in cells.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    plots = [output for cell in code for output in cell.outputs if "image/png" in output.get("data", {})]
    assert len(plots) == 1


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_what_is_stored_is_small_and_of_no_particular_machine(notebook: Path) -> None:
    assert notebook.stat().st_size < 300_000
    for cell in nbformat.read(notebook, as_version=4).cells:
        for output in cell.get("outputs", ()):
            assert output.output_type in ("execute_result", "display_data"), cell.source
            assert "site-packages" not in str(output)
