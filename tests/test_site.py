"""The documentation as a site: it builds, strictly, and a browser that opens it needs nothing from elsewhere."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pages import ROOT

# Found in the pages as something to load; a link that a reader may follow is none.
_LOADED = re.compile(r"<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=\"?https?://[^>]*>")


@pytest.mark.slow
def test_the_site_builds_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    pages = list((tmp_path / "site").rglob("*.html"))
    assert {"index.html", "api/pyserini_splare.html", "repository/CONTRIBUTING.html"} <= {
        page.relative_to(tmp_path / "site").as_posix() for page in pages
    }
    for page in pages:
        assert not _LOADED.findall(page.read_text(encoding="utf-8")), page


@pytest.mark.slow
def test_a_broken_link_stops_the_build(tmp_path: Path) -> None:
    """With the site's own settings, on two pages of its own."""
    pages = tmp_path / "docs"
    shutil.copytree(ROOT / "docs" / "site", pages / "site")
    (pages / "index.md").write_text("# One\n\n[away](gone.md) and [nowhere](#two)\n", encoding="utf-8")
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    settings = re.sub(r"^nav:\n(?: .*\n)+", "", settings.replace("hooks: [docs/site/hooks.py]\n", ""), flags=re.M)
    (tmp_path / "mkdocs.yml").write_text(settings, encoding="utf-8")
    done = subprocess.run([sys.executable, "-m", "mkdocs", "build"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "'gone.md', but the target is not found" in done.stderr
    assert "'#two'" in done.stderr
