"""Every notebook of the examples runs from top to bottom, on a cut copy of the bundled data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.cli.conftest import DATA, cut

NOTEBOOKS = sorted(DATA.parent.glob("*.ipynb"))
# They share what they encode, and the folder that it lies in.
ABLATIONS = sorted(DATA.parent.glob("ablations/*.ipynb"))
WITHOUT_JAVA = ("pyterrier", "balance", "depth", "width", "domains", "joint")


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
    assert [notebook.name for notebook in NOTEBOOKS] == ["opensearch.ipynb", "pyterrier.ipynb"]
    assert len(ABLATIONS) == 10


def needing_java(notebook: Path) -> Any:
    marks = [] if notebook.stem in WITHOUT_JAVA else [pytest.mark.java]
    return pytest.param(notebook, marks=marks, id=notebook.stem)


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.parametrize("notebook", [needing_java(notebook) for notebook in NOTEBOOKS])
def test_a_notebook_runs_from_top_to_bottom(
    notebook: Path, data: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if notebook.stem == "opensearch":  # the session's node; by itself the notebook starts another
        monkeypatch.setenv("OPENSEARCH_URL", request.getfixturevalue("opensearch_url"))
    run(notebook, data.parent)


def run(notebook: Path, folder: Path) -> None:
    """All cells in order, of which one shows a plot."""
    cells = nbformat.read(notebook, as_version=4)
    where = {"metadata": {"path": str(folder)}}
    NotebookClient(cells, timeout=300, kernel_name="python3", resources=where).execute()
    code = [cell for cell in cells.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    plots = [output for cell in code for output in cell.outputs if "image/png" in output.get("data", {})]
    assert len(plots) == 1


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one ablation has encoded, the next ones find."""
    return tmp_path_factory.mktemp("ablations")


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.parametrize("notebook", [needing_java(notebook) for notebook in ABLATIONS])
def test_an_ablation_runs_in_its_small_setting(
    notebook: Path, data: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FULL", raising=False)
    monkeypatch.setenv("ABLATIONS_DATA", str(data))
    monkeypatch.setenv("ABLATIONS_WORK", str(work))
    run(notebook, notebook.parent)
    assert {path.suffix for path in (work / "plots").glob(f"{notebook.stem}.*")} == {".pdf", ".png"}


@pytest.mark.parametrize("notebook", NOTEBOOKS + ABLATIONS, ids=lambda notebook: notebook.stem)
def test_what_is_stored_is_small_and_of_no_particular_machine(notebook: Path) -> None:
    assert notebook.stat().st_size < 300_000
    for cell in nbformat.read(notebook, as_version=4).cells:
        for output in cell.get("outputs", ()):
            assert output.output_type in ("execute_result", "display_data"), cell.source
            assert "site-packages" not in str(output)


@pytest.mark.parametrize("notebook", ABLATIONS, ids=lambda notebook: notebook.stem)
def test_the_page_of_ablations_has_the_sentence_that_each_ends_with(notebook: Path) -> None:
    last = nbformat.read(notebook, as_version=4).cells[-1]
    sentence = last.source.removeprefix("**In one sentence.** ")
    assert last.cell_type == "markdown" and sentence != last.source
    page = " ".join((DATA.parents[1] / "docs" / "ablations.md").read_text(encoding="utf-8").split())
    assert f"[{notebook.stem}.ipynb](../examples/ablations/{notebook.name})" in page
    assert " ".join(sentence.split()) in page
