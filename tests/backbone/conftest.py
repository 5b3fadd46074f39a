from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.backbone.families import FAMILIES, save_family


@pytest.fixture(scope="session")
def family_folder(tmp_path_factory) -> Callable[[str], Path]:
    """A family's folder by name, made once."""
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = save_family(name, tmp_path_factory.mktemp(name))
        return made[name]

    return folder


@pytest.fixture(autouse=True)
def uncompiled(monkeypatch):
    """Flex attention is compiled when first used, which takes most of a minute."""
    monkeypatch.setenv("TORCHDYNAMO_DISABLE", "1")


@pytest.fixture(params=FAMILIES)
def family(request) -> str:
    return request.param


@pytest.fixture
def folder(family, family_folder) -> Path:
    return family_folder(family)
