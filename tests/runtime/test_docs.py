"""What the page on runtimes shows works; ``test_export.py`` runs it again without torch."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pages import ROOT, run_pages


@pytest.mark.model
@pytest.mark.slow
def test_what_the_page_shows_works(tmp_path: Path) -> None:
    assert run_pages("docs/runtimes.md", folder=tmp_path, data=ROOT / "examples" / "data") == [4]
