"""Every Python block and every command of docs/sentence_transformers.md works."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import readme
from tests.cli.conftest import small_data  # noqa: F401 (a fixture)


@pytest.mark.model
@pytest.mark.slow
def test_what_the_page_shows_works(small_data, tmp_path, monkeypatch, capsys):  # noqa: F811
    (tmp_path / "examples").symlink_to(small_data.parent)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(readme, "README", Path(__file__).parents[2] / "docs" / "sentence_transformers.md")
    readme.main()
    assert "7 commands and blocks" in capsys.readouterr().out
    assert (tmp_path / "st.run").stat().st_size > 0
    assert [path.name for path in (tmp_path / "checkpoint").rglob("*.safetensors")] == ["adapter_model.safetensors"]
