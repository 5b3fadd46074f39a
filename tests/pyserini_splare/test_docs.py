"""What docs/pyserini.md shows works."""

from __future__ import annotations

import pytest

from tests.cli.conftest import small_data  # noqa: F401 (a fixture)
from tests.pages import run_pages


@pytest.mark.java
@pytest.mark.model
@pytest.mark.slow
def test_what_the_page_shows_works(small_data, tmp_path):  # noqa: F811
    assert run_pages("docs/pyserini.md", folder=tmp_path, data=small_data) == [4]
    assert (tmp_path / "zh.run").stat().st_size > 0
