"""Engines by name."""

from __future__ import annotations

import pytest

from splare_plugins.engines import get_text_engine
from splare_plugins.errors import InputError


def test_an_engine_without_words() -> None:
    with pytest.raises(InputError, match=r"'memory' does not rank by words"):
        get_text_engine("memory")
