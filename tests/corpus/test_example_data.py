"""The data that travels with the project is whole and readable."""

from __future__ import annotations

from pathlib import Path

import pytest

from splare_plugins.corpus import ReadCounts, read_documents, read_qrels, read_queries

DATA = Path(__file__).parents[2] / "examples" / "data"
XQUAD = [f"xquad/{language}" for language in ("ar", "de", "en", "es", "ru", "zh")]


@pytest.mark.parametrize(
    ("name", "documents", "queries"), [*((name, 240, 1190) for name in XQUAD), ("scifact", 5183, 1109)]
)
def test_counts(name: str, documents: int, queries: int) -> None:
    counts = ReadCounts()
    docids = {document.docid for document in read_documents(DATA / name, counts=counts)}
    # Two abstracts of SciFact hold control characters in the original.
    assert counts == ReadCounts(read=documents, cleaned=2 if name == "scifact" else 0)
    qids = {query.qid for query in read_queries(DATA / name)}
    assert len(qids) == queries
    for path in (DATA / name / "qrels").iterdir():
        qrels = read_qrels(path)
        assert qrels.keys() <= qids
        assert {docid for judged in qrels.values() for docid in judged} <= docids


def test_the_ids_of_all_languages_agree() -> None:
    first, *others = ([query.qid for query in read_queries(DATA / name)] for name in XQUAD)
    assert all(other == first for other in others)
    assert len({(DATA / name / "qrels" / "test.tsv").read_bytes() for name in XQUAD}) == 1


def test_compressed_files_carry_no_time_and_no_name() -> None:
    for path in DATA.rglob("*.gz"):
        assert path.read_bytes()[3:8] == bytes(5)


def test_every_set_has_a_licence_and_a_note() -> None:
    for name in ("LICENSES.md", "README.md"):
        text = (DATA / name).read_text(encoding="utf-8").lower()
        assert all(path.name in text for path in DATA.iterdir() if path.is_dir())
