"""``splare index`` builds what PyTerrier opens, and ``splare search`` searches it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyterrier_splare import Splare
from splare_plugins.cli.app import main
from splare_plugins.corpus import read_run
from tests.tiny import TEXTS

from .kinds import EXACT, KINDS, make


def run(*arguments: object) -> int:
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@pytest.mark.parametrize("kind", [param for param in KINDS if param.values[0] != "memory"])
def test_index_and_search(
    kind: str, tmp_path: Path, tiny_folder: Path, splare: Splare, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus, queries = tmp_path / "corpus.tsv", tmp_path / "queries.tsv"
    corpus.write_text("".join(f"d{row}\t{text}\n" for row, text in enumerate(TEXTS)), encoding="utf-8")
    queries.write_text("q1\tquick fox\nq2\tstates\n", encoding="utf-8")
    place = tmp_path / "index"
    assert run("index", kind, corpus, "-o", place, "--model", tiny_folder, "--device", "cpu") == 0
    options = ("--engine", kind, "--model", tiny_folder, "--device", "cpu")
    assert run("search", place, queries, "-o", tmp_path / "run", *options) == 0
    pipeline = splare.query_encoder() >> make(kind, place, model=splare).retriever(**EXACT.get(kind, {}))
    found = read_run(tmp_path / "run")
    for qid, query in (("q1", "quick fox"), ("q2", "states")):
        expected = pipeline.search(query)
        assert found[qid].scores.tolist() == expected["score"].tolist()
        assert found[qid].docids == expected["docno"].tolist()
    capsys.readouterr()
    assert run("index", kind, corpus, "-o", place, "--model", tiny_folder, "--device", "cpu") == 2
    assert "exists already" in capsys.readouterr().err


def test_an_encoding_that_pisa_does_not_know(tmp_path: Path, tiny_folder: Path) -> None:
    corpus = tmp_path / "corpus.tsv"
    corpus.write_text("d1\ttext\n", encoding="utf-8")
    assert run("index", "pisa", corpus, "-o", tmp_path / "x", "--model", tiny_folder, "--encoding", "zip") == 2
    assert not (tmp_path / "x").exists()
