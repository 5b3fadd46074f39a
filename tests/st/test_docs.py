"""What docs/sentence_transformers.md shows works."""

from __future__ import annotations

import pytest

from tests.cli.conftest import small_data  # noqa: F401 (a fixture)
from tests.pages import run_pages


@pytest.mark.model
@pytest.mark.slow
def test_what_the_page_shows_works(small_data, tmp_path):  # noqa: F811
    assert run_pages("docs/sentence_transformers.md", folder=tmp_path, data=small_data) == [7]
    assert (tmp_path / "st.run").stat().st_size > 0
    assert [path.name for path in (tmp_path / "checkpoint").rglob("*.safetensors")] == ["adapter_model.safetensors"]
