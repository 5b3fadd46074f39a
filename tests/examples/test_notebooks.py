"""Every notebook of the examples runs from top to bottom, on a cut copy of the bundled data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from tests.cli.conftest import DATA, cut

NOTEBOOKS = sorted(DATA.parent.glob("*.ipynb"))
# They share what they encode, and the folder that it lies in.
ABLATIONS = sorted(DATA.parent.glob("ablations/*.ipynb"))
WITHOUT_JAVA = ("pyterrier", "static_queries", "balance", "depth", "width", "domains", "joint", "sparsity", "decoder")


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
    assert [notebook.name for notebook in NOTEBOOKS] == ["opensearch.ipynb", "pyterrier.ipynb", "static_queries.ipynb"]
    assert len(ABLATIONS) == 12


def needing_java(notebook: Path) -> Any:
    marks = [] if notebook.stem in WITHOUT_JAVA else [pytest.mark.java]
    return pytest.param(notebook, marks=marks, id=notebook.stem)


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.parametrize("notebook", [needing_java(notebook) for notebook in NOTEBOOKS])
def test_a_notebook_runs_from_top_to_bottom(
    notebook: Path, data: Path, kernel: KernelManager, request: pytest.FixtureRequest
) -> None:
    # The session's node; by itself the notebook starts another.
    node = {"OPENSEARCH_URL": request.getfixturevalue("opensearch_url")} if notebook.stem == "opensearch" else {}
    run(notebook, data.parent, kernel, node)


@pytest.fixture(scope="module")
def kernel(data: Path, work: Path) -> Iterator[KernelManager]:
    """One process for all notebooks, since to import torch takes as long as most of them."""
    manager = KernelManager(kernel_name="python3")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("FULL", raising=False)
        patch.setenv("ABLATIONS_DATA", str(data))
        patch.setenv("ABLATIONS_WORK", str(work))
        patch.setenv("PYTHONPATH", str(DATA.parents[1]))
        manager.start_kernel()
    execute(new_notebook(cells=[new_code_cell("from tests.remembered import *\nremember_models()")]), manager)
    yield manager
    manager.shutdown_kernel(now=True)


def execute(cells: nbformat.NotebookNode, kernel: KernelManager) -> None:
    client = NotebookClient(cells, km=kernel, timeout=300)
    client.execute()
    assert client.kc is not None
    client.kc.stop_channels()


def run(notebook: Path, folder: Path, kernel: KernelManager, environment: dict[str, str]) -> None:
    """All cells in order, of which one shows a plot; names of the notebook before are gone."""
    begin = f"import os\nos.chdir({str(folder)!r})\nos.environ.update({environment!r})\ndel os"
    execute(new_notebook(cells=[new_code_cell("%reset -f"), new_code_cell(begin)]), kernel)
    cells = nbformat.read(notebook, as_version=4)
    execute(cells, kernel)
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
def test_an_ablation_runs_in_its_small_setting(notebook: Path, work: Path, kernel: KernelManager) -> None:
    run(notebook, notebook.parent, kernel, {})
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
