"""Telling corpora apart."""

from __future__ import annotations

from pathlib import Path

from splare_plugins.corpus.sources import source_identity

from .conftest import Write


def test_identity_of_a_corpus(write: Write, tmp_path: Path) -> None:
    one = source_identity(write("one/corpus.tsv", ["a\tx", "b\ty"]))
    assert source_identity(write("elsewhere/corpus.tsv", ["a\tx", "b\ty"])) == one
    assert source_identity(str(tmp_path / "one")) == one
    assert source_identity(write("two/corpus.tsv", ["a\tx", "b\tz"])) != one
    assert source_identity(write("three/corpus.tsv", ["a\tx", "b\ty", ""])) != one
