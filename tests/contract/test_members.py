"""No registered engine stays outside the suite."""

from __future__ import annotations

import pytest

from splare_plugins.engines import engine_names, get_engine
from splare_plugins.errors import InputError

from .conftest import ENGINES


def test_every_registered_engine_is_tested() -> None:
    assert {str(param.values[0]) for param in ENGINES} == set(engine_names())


def test_an_unknown_engine() -> None:
    with pytest.raises(InputError, match=r"'grep'; installed are: .*memory"):
        get_engine("grep")
