"""Corpora and queries of ir_datasets, without downloading one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import ir_datasets
import pytest

from splare_plugins.corpus import Document, Query, read_documents, read_queries, source_identity
from splare_plugins.corpus.irds import irds_qrels
from splare_plugins.errors import InputError


class Titled(NamedTuple):
    doc_id: str
    title: str
    text: str


class Composed(NamedTuple):
    doc_id: str
    abstract: str
    keywords: str

    def default_text(self) -> str:
        return f"{self.abstract} {self.keywords}"


@pytest.fixture
def catalogue(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    class Docs(ir_datasets.formats.BaseDocs):
        def __init__(self, docs: list[Any]) -> None:
            self._docs = docs

        def docs_iter(self) -> Iterator[Any]:
            return iter(self._docs)

    class Queries(ir_datasets.formats.BaseQueries):
        def queries_iter(self) -> Iterator[Any]:
            return iter([ir_datasets.formats.GenericQuery("q1", "what?")])

    class Judgements(ir_datasets.formats.BaseQrels):
        def qrels_iter(self) -> Iterator[Any]:
            return iter(ir_datasets.formats.TrecQrel("q1", *rest, "0") for rest in [("d1", 1), ("d2", 0), ("d1", 2)])

    sets = {
        "titled": ir_datasets.Dataset(Docs([Titled("d1", "title", "text"), Titled("d2", "", "text")])),
        "composed": ir_datasets.Dataset(Docs([Composed("d1", "abstract", "words")]), Queries()),
        "twice": ir_datasets.Dataset(Docs([Titled("d1", "", "a"), Titled("d1", "", "b")])),
        "topics": ir_datasets.Dataset(Queries()),
        "judged": ir_datasets.Dataset(Docs([Titled("d1", "", "a")]), Queries(), Judgements()),
    }
    monkeypatch.setattr(ir_datasets, "load", sets.__getitem__)
    yield


@pytest.mark.usefixtures("catalogue")
def test_documents_and_queries() -> None:
    assert list(read_documents("irds:titled")) == [Document("d1", "text", "title"), Document("d2", "text")]
    assert list(read_documents("irds:composed")) == [Document("d1", "abstract words")]
    assert read_queries("irds:composed") == [Query("q1", "what?")]
    assert source_identity("irds:titled") != source_identity("irds:composed")


@pytest.mark.usefixtures("catalogue")
def test_errors_name_set_and_position() -> None:
    with pytest.raises(InputError, match=r"irds:twice, document 2: document 'd1' came before"):
        list(read_documents("irds:twice"))
    with pytest.raises(InputError, match=r"'titled' has no queries"):
        read_queries("irds:titled")
    with pytest.raises(InputError, match=r"'topics' has no documents"):
        read_documents("irds:topics")


@pytest.mark.usefixtures("catalogue")
def test_judgements() -> None:
    # Judged twice: the highest grade.
    assert irds_qrels("irds:judged") == {"q1": {"d1": 2, "d2": 0}}
    with pytest.raises(InputError, match="'titled' has no judgements; name one of its parts"):
        irds_qrels("irds:titled")
