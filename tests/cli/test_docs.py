"""What the pages on the command line, on Python, on errors and on models show works."""

from __future__ import annotations

import pytest

from tests.pages import run_pages

COUNTS = {
    "docs/command_line.md": 6,
    "docs/explanations.md": 8,
    "docs/experiments.md": 5,
    "docs/static.md": 4,
    "docs/python.md": 4,
    "docs/errors.md": 13,
    "docs/models.md": 1,
    "docs/interpretability.md": 2,
    "docs/capacity.md": 1,
}


@pytest.mark.java
@pytest.mark.model
@pytest.mark.slow
def test_what_the_pages_show_works(small_data, tmp_path):
    """In one process, since importing torch takes as long as a page."""
    assert run_pages(*COUNTS, folder=tmp_path, data=small_data) == list(COUNTS.values())
    assert (tmp_path / "scifact.run").stat().st_size > 0
