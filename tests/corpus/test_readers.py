"""What readers accept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from splare_plugins.corpus import Document, Query, ReadCounts, read_documents, read_queries

from .conftest import Write

DOCUMENTS = [Document("d1", "Erster Text", "Titel"), Document("d2", "第二 文档"), Document("d3", "")]
LINES = [
    '{"_id": "d1", "title": "Titel", "text": "Erster Text", "metadata": {"url": "x"}}',
    '{"_id": "d2", "title": "", "text": "\\u7b2c\\u4e8c 文档"}',
    '{"_id": "d3", "title": null, "text": ""}',
]


@pytest.mark.parametrize("name", ["corpus.jsonl", "corpus.jsonl.gz", "other.json", "PARTS.JSONL", "x.ndjson.gz"])
def test_jsonl(write: Write, name: str) -> None:
    counts = ReadCounts()
    assert list(read_documents(write(name, LINES), counts=counts)) == DOCUMENTS
    assert counts == ReadCounts(read=3, empty=1)
    assert counts.kept == 3


@pytest.mark.parametrize("name", ["corpus.jsonl", "corpus.jsonl.gz"])
def test_beir_folder(write: Write, tmp_path: Path, name: str) -> None:
    write(name, LINES)
    write("queries.jsonl.gz", ['{"_id": "q1", "text": "eins"}', '{"_id": "q2", "text": "zwei", "answers": []}'])
    write("qrels/test.tsv", ["query-id\tcorpus-id\tscore"])
    assert list(read_documents(tmp_path)) == DOCUMENTS
    assert list(read_documents(str(tmp_path))) == DOCUMENTS
    assert read_queries(tmp_path) == [Query("q1", "eins"), Query("q2", "zwei")]


def test_folder_of_parts_in_the_order_of_names(write: Write, tmp_path: Path) -> None:
    write("part-10.jsonl", ['{"id": "c", "contents": "3"}'])
    write("part-02.jsonl.gz", ['{"id": "b", "contents": "2"}'])
    write("part-01.tsv", ["a\t1"])
    write("notes.md", "not a part")
    write("queries.tsv", ["q\tnot a document"])
    assert [document.docid for document in read_documents(tmp_path)] == ["a", "b", "c"]


def test_several_files_in_the_order_given(write: Write) -> None:
    files = [write("b.tsv", ["b\t2"]), write("a.jsonl", ['{"docno": "a", "text": "1"}'])]
    assert list(read_documents(files)) == [Document("b", "2"), Document("a", "1")]


def test_tsv(write: Write) -> None:
    path = write("corpus.tsv", b'd1\tonly text\r\nd2\tthe title\tthe text\n\nd3\t\nd4\ta "quoted, one')
    assert list(read_documents(path)) == [
        Document("d1", "only text"),
        Document("d2", "the text", "the title"),
        Document("d3", ""),
        Document("d4", 'a "quoted, one'),
    ]
    assert read_queries(write("topics.tsv", ["q1\twhat is it?"])) == [Query("q1", "what is it?")]


@pytest.mark.parametrize("field", ["_id", "id", "docid", "docno", "doc_id"])
@pytest.mark.parametrize("text", ["text", "contents"])
def test_names_of_document_fields(write: Write, field: str, text: str) -> None:
    assert list(read_documents(write("c.jsonl", [json.dumps({field: "d", text: "t"})]))) == [Document("d", "t")]


@pytest.mark.parametrize("field", ["_id", "id", "qid", "query_id"])
@pytest.mark.parametrize("text", ["text", "query"])
def test_names_of_query_fields(write: Write, field: str, text: str) -> None:
    assert read_queries(write("q.jsonl", [json.dumps({field: "q", text: "t"})])) == [Query("q", "t")]


def test_content_joins_title_and_text_as_beir_does() -> None:
    assert Document("d", "text", "title").content == "title text"
    assert Document("d", "text").content == "text"
    assert Document("d", "", "title").content == "title"
    assert Document("d", "").content == ""


def test_a_byte_order_mark_is_skipped(write: Write) -> None:
    assert list(read_documents(write("c.tsv", b"\xef\xbb\xbfd1\tx\n"))) == [Document("d1", "x")]


def test_other_line_separators_stay_in_the_text(write: Write) -> None:
    path = write("c.jsonl", '{"_id": "d1", "text": "a\u2028b\u0085c\x0bd"}\n'.replace("\x0b", "\\u000b"))
    assert [document.text for document in read_documents(path)] == ["a\u2028b c d"]


def test_control_characters_become_blanks_and_are_counted(write: Write) -> None:
    counts = ReadCounts()
    lines = ['{"_id": "d1", "text": "a\\u0000b\\tc\\nd\\u007fe"}', '{"_id": "d2", "text": "ok", "title": "\\u0001"}']
    documents = list(read_documents(write("c.jsonl", [*lines, '{"_id": "d3", "text": "ok"}']), counts=counts))
    assert [document.text for document in documents] == ["a b\tc\nd e", "ok", "ok"]
    assert counts == ReadCounts(read=3, cleaned=2)


def test_blank_texts_are_kept_and_counted(write: Write) -> None:
    counts = ReadCounts()
    lines = ["a\t", "b\t \u3000", "c\ttitle\t", "d\tx"]
    assert len(list(read_documents(write("c.tsv", lines), counts=counts))) == 4
    assert counts == ReadCounts(read=4, empty=2)


def test_the_first_of_duplicates_is_kept_if_asked_for(write: Write) -> None:
    counts = ReadCounts()
    path = write("c.tsv", ["a\tfirst", "b\tother", "a\tsecond", "a\t"])
    assert [document.text for document in read_documents(path, on_duplicate="first", counts=counts)] == [
        "first",
        "other",
    ]
    assert counts == ReadCounts(read=4, duplicates=2)
    assert counts.kept == 2


def test_reading_is_lazy(write: Write) -> None:
    documents = read_documents(write("c.tsv", ["a\tx", "no tab"]))
    assert next(documents).docid == "a"


ID = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]), min_size=1, max_size=120)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(rows=st.lists(st.tuples(ID, TEXT, TEXT), unique_by=lambda row: row[0], min_size=1), ascii_only=st.booleans())
def test_any_unicode_survives_jsonl(write: Write, rows: list[tuple[str, str, str]], ascii_only: bool) -> None:
    lines = [
        json.dumps({"_id": docid, "title": title, "text": text}, ensure_ascii=ascii_only)
        for docid, title, text in rows
    ]
    counts = ReadCounts()
    documents = list(read_documents(write("c.jsonl.gz", lines), counts=counts))
    assert [document.docid for document in documents] == [docid for docid, _, _ in rows]
    assert counts.read == len(rows)
    changed = 0
    for document, (_, title, text) in zip(documents, rows, strict=True):
        changed += (document.title, document.text) != (title, text)
        assert [len(document.title), len(document.text)] == [len(title), len(text)]
        assert "\0" not in document.content
    assert counts.cleaned == changed
