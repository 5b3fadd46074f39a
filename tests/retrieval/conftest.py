"""A corpus of several parts, and what a run made of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiny import TEXTS

DOCUMENTS, PART = 60, 7


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.tsv"
    texts = (f"{TEXTS[n % len(TEXTS)]} {'more words ' * (n % 9)}{n}" for n in range(DOCUMENTS))
    path.write_text("".join(f"d{n}\t{text}\n" for n, text in enumerate(texts)), encoding="utf-8")
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}
