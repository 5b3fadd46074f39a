"""The pages for PyTerrier: their code runs, and the names, tests and benchmarks that they mention exist."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from textwrap import dedent

import pytest

import pyterrier_splare
from tests.cli.conftest import small_data  # noqa: F401 (a fixture)
from tests.pages import commands, run_pages

ROOT = Path(__file__).parents[2]
PAGES = sorted(Path(pyterrier_splare.__file__).with_name("pt_docs").glob("*.rst"))
BLOCK = re.compile(r"^( *)\.\. code-block:: (python|bash)\n(?: +:.*\n)*\n((?:\1 +.*\n|\n)+)", re.MULTILINE)


def script(page: Path) -> str:
    """A page's Python blocks as they stand, and its commands, but for pip's, as calls of the pages' runner."""
    parts = []
    for _, language, block in BLOCK.findall(page.read_text(encoding="utf-8")):
        if language == "python":
            parts.append(dedent(block))
        else:
            parts += [f"run({words!r})\n" for words in commands(dedent(block)) if words[0] != "pip"]
    begin = "from tests.pages import run\nfrom tests.remembered import remember_models\nremember_models()\n"
    return "".join([begin, *parts]) if parts else ""


def test_every_code_block_is_found() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert len(BLOCK.findall(text)) == len(re.findall(r"code-block:: (?:python|bash)", text)), page.name
    assert sum(len(script(page)) > 0 for page in PAGES) == 2


@pytest.mark.model
@pytest.mark.slow
def test_what_the_page_of_the_project_shows_works(small_data: Path, tmp_path: Path) -> None:  # noqa: F811
    assert run_pages("docs/pyterrier.md", folder=tmp_path, data=small_data) == [1]


@pytest.mark.java
@pytest.mark.model
@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if script(page)], ids=lambda page: page.stem)
def test_what_a_page_shows_works(page: Path, small_data: Path, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "examples").symlink_to(small_data.parent)
    # A process of its own, since Java resolves paths against the folder in which it was started.
    done = subprocess.run(
        [sys.executable, "-c", script(page)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]


def test_every_exported_name_is_in_the_api_page() -> None:
    page = next(page for page in PAGES if page.name == "api.rst").read_text(encoding="utf-8")
    documented = re.findall(r"\.\. auto(?:class|function):: (\S+)", page)
    for name in documented:
        module, _, attribute = name.rpartition(".")
        assert getattr(import_module(module), attribute).__doc__, name
    assert {f"pyterrier_splare.{name}" for name in pyterrier_splare.__all__} <= set(documented)
    members = re.findall(r":: (\S+)\n +:members: (.+)", page)
    for owner, names in members:
        module, _, attribute = owner.rpartition(".")
        for name in names.split(", "):
            assert getattr(getattr(import_module(module), attribute), name).__doc__, f"{owner}.{name}"


def test_the_named_tests_and_benchmarks_exist() -> None:
    page = next(page for page in PAGES if page.name == "beside-pyterrier-splade.rst").read_text(encoding="utf-8")
    named = set(re.findall(r"``(test_\w+)``", page))
    assert len(named) >= 12
    here = "\n".join(file.read_text(encoding="utf-8") for file in Path(__file__).parent.glob("test_*.py"))
    assert named <= set(re.findall(r"^def (test_\w+)", here, re.MULTILINE))
    for benchmark in re.findall(r"``benchmarks/(\w+\.py)``", page):
        assert (ROOT / "benchmarks" / benchmark).is_file()
