"""What readers accept."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from splare_plugins.corpus import Document, Fields, Query, ReadCounts, read_documents, read_qrels, read_queries
from splare_plugins.errors import InputError

from .conftest import Write

DOCUMENTS = [Document("d1", "Erster Text", "Titel"), Document("d2", "第二 文档"), Document("d3", "")]
LINES = [
    '{"_id": "d1", "title": "Titel", "text": "Erster Text", "metadata": {"url": "x"}}',
    '{"_id": "d2", "title": "", "text": "\\u7b2c\\u4e8c 文档"}',
    '{"_id": "d3", "title": null, "text": ""}',
]


@pytest.mark.parametrize(
    "name",
    [
        "corpus.jsonl",
        "corpus.jsonl.gz",
        "other.json",
        "PARTS.JSONL",
        "x.ndjson.gz",
        "x.json.bz2",
        "x.jsonl.xz",
        "x.jsonl.zst",
    ],
)
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
    for name in ("queries.tsv", "qrels.tsv", "test.qrels.tsv", "topics.dev.txt", "topics.jsonl.gz", "dev_queries.csv"):
        write(name, ["q\tnot a document"])
    assert [document.docid for document in read_documents(tmp_path)] == ["a", "b", "c"]


def test_what_a_folder_leaves_out_is_said(write: Write, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write("docs.jsonl", ['{"id": "a", "contents": "1"}'])
    write("qrels.tsv", ["q\ta\t1"])
    list(read_documents(tmp_path))
    assert "the documents are docs.jsonl; left out for their names: qrels.tsv" in caplog.text
    write("topics.tsv", ["q\twhat"])
    assert read_queries(tmp_path) == [Query("q", "what")]


@pytest.mark.parametrize(
    "place", ["corpus/train-00000-of-00001", "corpus-00000-of-00001", "corpus/corpus-00000-of-00001"]
)
def test_parquet_folders_as_on_the_hub(tmp_path: Path, place: str) -> None:
    for name, rows in (
        (place, [{"_id": "d1", "title": "T", "text": "t"}]),
        (place.replace("corpus", "queries"), [{"_id": 7, "text": "q"}]),
        ("qrels/test-00000-of-00001", [{"query-id": 7, "corpus-id": "d1", "score": 1.0}]),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / f"{name}.parquet")
    assert list(read_documents(tmp_path)) == [Document("d1", "t", "T")]
    assert read_queries(tmp_path) == [Query("7", "q")]
    assert read_qrels(tmp_path) == {"7": {"d1": 1}}


def test_a_header_says_which_column_is_what(write: Write, caplog: pytest.LogCaptureFixture) -> None:
    assert list(read_documents(write("p.tsv", ["id\ttext\ttitle", "1\tA prophet.\tAaron"]))) == [
        Document("1", "A prophet.", "Aaron")
    ]
    assert "p.tsv:1: the first line is taken as the header: id, text, title" in caplog.text
    assert read_queries(write("q.tsv", ["qid\tquery", "7\twhat?"])) == [Query("7", "what?")]
    assert read_queries(write("q.csv", ["Question,ID", '"what, ""this""?",7'])) == [Query("7", 'what, "this"?')]
    # An id that is a usual name of ids, with a text that is none.
    assert read_queries(write("q.tsv", ["id\twhat is an id?"])) == [Query("id", "what is an id?")]


def test_a_csv_cell_may_hold_line_ends(write: Write) -> None:
    documents = read_documents(write("c.csv", ["id,text", '1,"a', 'b"']))
    assert list(documents) == [Document("1", "a\nb")]


def test_fields_by_name(write: Write) -> None:
    row = json.dumps({"pid": 3, "passage": "p", "body": "b", "headings": "h", "url": "u"})
    path = write("c.jsonl", [row])
    assert list(read_documents(path)) == [Document("3", "b")]
    assert list(read_documents(path, fields=Fields(id="url", text="headings,passage", title="body"))) == [
        Document("u", "h p", "b")
    ]
    with pytest.raises(InputError, match=r"document 3 has no field 'segment', only pid, passage, body, headings, url"):
        list(read_documents(path, fields=Fields(text="segment")))
    with pytest.raises(InputError, match=r"there is no field 'heading', only pid"):
        list(read_documents(path, fields=Fields(title="heading")))


def test_an_empty_field_hides_no_other(write: Write) -> None:
    rows = ['{"_id": "", "id": "d1", "text": " ", "contents": "filled"}', '{"id": "d2", "text": "", "contents": ""}']
    assert list(read_documents(write("c.jsonl", rows))) == [Document("d1", "filled"), Document("d2", "")]


def test_a_json_array(write: Write) -> None:
    array = '[\n {"id": 1, "query": "one"},\n {"id": 2, "query": "two", "excluded_ids": ["d1", 2]}\n]'
    assert read_queries(write("q.json", array)) == [Query("1", "one"), Query("2", "two", ("d1", "2"))]
    assert read_queries(write("q.jsonl", ['{"id": 1, "query": "x", "excluded_ids": ["N/A"]}'])) == [Query("1", "x")]


TOP = """
<top>
<num> Number: 301
<title> International &amp; Organized Crime

<desc> Description:
Identify organizations.

<narr> Narrative:
A relevant document.
</top>

<top>
<num> Number: 302
<title> Topic: Poliomyelitis
<desc>
Is it under control?
</top>
"""
COVID = """<?xml version="1.0"?><topics task="COVIDSearch"><topic number="1"><query>coronavirus origin</query>
<question>what is the origin?</question></topic><topic number="2"><query>weather</query></topic></topics>"""
WWW = """<queries><query><qid>0001</qid><content>Halloween picture</content><description>d</description></query>
<query><qid>0002</qid><content>ASUS<!-- no --></content></query></queries>"""
CLIR = "<TOPIC><NUM>001</NUM><SLANG>CH</SLANG><TITLE>时代华纳</TITLE><DESC>查询</DESC></TOPIC>"


@pytest.mark.parametrize(
    ("content", "field", "queries"),
    [
        (TOP, None, {"301": "International & Organized Crime", "302": "Poliomyelitis"}),
        (TOP, "desc", {"301": "Identify organizations.", "302": "Is it under control?"}),
        (
            TOP,
            "title, description",
            {
                "301": "International & Organized Crime Identify organizations.",
                "302": "Poliomyelitis Is it under control?",
            },
        ),
        (COVID, None, {"1": "coronavirus origin", "2": "weather"}),
        (WWW, None, {"0001": "Halloween picture", "0002": "ASUS"}),
        (CLIR, None, {"001": "时代华纳"}),
        (CLIR, "desc", {"001": "查询"}),
        ("156493\tdo goldfish grow\n", None, {"156493": "do goldfish grow"}),
        ('{"qid": 1, "query": "x"}\n', None, {"1": "x"}),
    ],
)
@pytest.mark.parametrize("name", ["topics.dev.txt", "topics.301-450.trec.gz"])
def test_topics_as_they_are(write: Write, name: str, content: str, field: str | None, queries: dict[str, str]) -> None:
    found = read_queries(write(name, content), fields=Fields(text=field))
    assert {query.qid: query.text for query in found} == queries


def test_several_files_in_the_order_given(write: Write) -> None:
    files = [write("b.tsv", ["b\t2"]), write("a.jsonl", ['{"docno": "a", "text": "1"}'])]
    assert list(read_documents(files)) == [Document("b", "2"), Document("a", "1")]


def test_tsv(write: Write) -> None:
    path = write("corpus.tsv", b'd1\tonly text\r\n\nd3\t\nd4\ta "quoted, one')
    assert list(read_documents(path)) == [
        Document("d1", "only text"),
        Document("d3", ""),
        Document("d4", 'a "quoted, one'),
    ]
    titled = write("titled.tsv", ["d2\tthe title\tthe text"])
    columns = Fields(columns=("id", "title", "text"))
    assert list(read_documents(titled, fields=columns)) == [Document("d2", "the text", "the title")]
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
    lines = ["id\ttitle\ttext", "a\t\t", "b\t\t \u3000", "c\ttitle\t", "d\t\tx"]
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


DPR = [
    "id\ttext\ttitle",
    '1\t"Aaron ( or ; ""Ahron"") is"\tAaron',
    '2\tno "marks" here\t"""Heroes"" (song)"',
    '3\t"one"\tx',
]


def test_passages_of_dpr_are_quoted(write: Write) -> None:
    expected = [
        Document("1", 'Aaron ( or ; "Ahron") is', "Aaron"),
        Document("2", 'no "marks" here', '"Heroes" (song)'),
        Document("3", "one", "x"),
    ]
    assert list(read_documents(write("psgs.tsv.gz", DPR))) == expected
    stated = Fields(columns=("id", "text", "title"), quoting="csv")
    assert list(read_documents(write("part.tsv", DPR[1:]), fields=stated)) == expected
    literal = list(read_documents(write("psgs.tsv", DPR), fields=Fields(quoting="none")))
    assert literal[0].text == '"Aaron ( or ; ""Ahron"") is"'


FLAGS = {"quoting": "--quoting"}


def test_other_tsv_keeps_its_marks_and_says_so_once(write: Write, caplog: pytest.LogCaptureFixture) -> None:
    lines = ['1\t"a"', '2\t"b ""c"" d"', '3\t"e ""f"""', '4\t"g']
    assert [each.text for each in read_documents(write("collection.tsv", lines), fields=Fields(flags=FLAGS))] == [
        '"a"',
        '"b ""c"" d"',
        '"e ""f"""',
        '"g',
    ]
    assert caplog.text.count("--quoting csv removes them") == 1
    assert "collection.tsv:2: quotation marks" in caplog.text
    caplog.clear()
    assert len(list(read_documents(write("collection.tsv", lines), fields=Fields(quoting="none")))) == 4
    assert not caplog.text
    header = ["qid\tquery", '1\t"what ""is"" it?"']
    assert read_queries(write("q.tsv", header), fields=Fields(quoting="csv")) == [Query("1", 'what "is" it?')]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (['1\t"a" b\tt'], r":2: this is not CSV: .*; --quoting none takes quotation marks as text, --quoting csv"),
        (['1\t"a\tt', "2\tb\tt"], r":3: this is not CSV: .*; --quoting none"),
        (['1\t"a\tt', '2\tb"\tt'], r":3: a cell in quotation marks .* several lines, .*; --quoting none"),
    ],
    ids=["text after the mark", "never closed", "closed in another line"],
)
def test_marks_under_dprs_header_that_quote_nothing_are_refused(write: Write, lines: list[str], message: str) -> None:
    path = write("psgs.tsv", DPR[:1] + lines)
    with pytest.raises(InputError, match=message):
        list(read_documents(path, fields=Fields(flags=FLAGS)))
    with pytest.raises(InputError, match="close what is quoted, and double the marks in it"):
        list(read_documents(path))
    assert len(list(read_documents(path, fields=Fields(quoting="none")))) == len(lines)


def test_a_stated_quoting_takes_cells_over_several_lines(write: Write) -> None:
    path = write("psgs.tsv", [DPR[0], '1\t"a', 'b"\tt'])
    assert list(read_documents(path, fields=Fields(quoting="csv"))) == [Document("1", "a\nb", "t")]


def test_quoting_is_about_tsv(write: Write) -> None:
    for name in ("c.jsonl", "c.csv"):
        with pytest.raises(InputError, match=r"is not TSV, .*; omit quoting"):
            list(read_documents(write(name, LINES), fields=Fields(quoting="csv")))
    path = write("topics.txt", ["<top>", "<num>1", "<title>one"])
    with pytest.raises(InputError, match=r"topics\.txt is not TSV, whose quotation marks --quoting is about"):
        read_queries(path, fields=Fields(quoting="csv", flags=FLAGS))
    with pytest.raises(InputError, match="quoting must be 'csv' or 'none'"):
        Fields(quoting="all")  # type: ignore[arg-type]
    assert Fields(quoting="csv").options() == ["--quoting", "csv"]


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("q.jsonl", LINES),
        ("q.json", ['[{"_id": "1", "text": "one"}]']),
        ("q.txt", LINES),
        ("topics.txt", ["<top>", "<num>1", "<title>one"]),
    ],
)
def test_columns_are_about_tables(write: Write, name: str, lines: list[str]) -> None:
    path = write(name, lines)
    assert read_queries(path)
    for fields, option in ((Fields(columns=("id", "text")), "columns"), (STATED, "--columns")):
        with pytest.raises(InputError, match=rf"{name} names its fields itself, .*; omit {option}$"):
            read_queries(path, fields=fields)


STATED = Fields(columns=("id", "text"), flags={"columns": "--columns"})


def test_columns_of_a_parquet_file(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["1"], "text": ["one"]}), tmp_path / "c.parquet")
    assert list(read_documents(tmp_path / "c.parquet")) == [Document("1", "one")]
    with pytest.raises(InputError, match="names its fields itself"):
        list(read_documents(tmp_path / "c.parquet", fields=STATED))


def test_a_header_is_no_record_where_columns_are_stated(write: Write, caplog: pytest.LogCaptureFixture) -> None:
    expected = [Document("1", "one")]
    assert list(read_documents(write("same.tsv", ["ID\tText", "1\tone"]), fields=STATED)) == expected
    assert "the first line is taken as the header" in caplog.text
    own = Fields(columns=("key", "text"), id="key")
    assert list(read_documents(write("own.tsv", ["key\ttext", "1\tone"]), fields=own)) == expected
    with pytest.raises(InputError, match=r"is a header \(text, id\), and --columns says id,text; omit --columns"):
        list(read_documents(write("other.tsv", ["text\tid", "one\t1"]), fields=STATED))
    with pytest.raises(InputError, match=r"looks like a header \(id, words\) .* or remove that line"):
        list(read_documents(write("no-text.tsv", ["id\twords", "1\tone"]), fields=STATED))


def test_a_query_is_a_pair_with_what_it_excludes_beside_it(write: Write) -> None:
    queries = read_queries(
        write("q.jsonl", ['{"id": 1, "text": "one", "excluded_ids": ["d"]}', '{"id": 2, "text": "two"}'])
    )
    assert [(qid, text) for qid, text in queries] == [("1", "one"), ("2", "two")]
    assert dict(queries) == {"1": "one", "2": "two"}
    assert [query.excluded for query in queries] == [("d",), ()]
    assert queries[0] != Query("1", "one") == ("1", "one")
    assert len({queries[0], Query("1", "one"), ("1", "one")}) == 2
    for copied in (pickle.loads(pickle.dumps(queries)), copy.deepcopy(queries)):
        assert copied == queries
        assert copied[0].excluded == ("d",)
    assert repr(queries[0]) == "Query(qid='1', text='one', excluded=('d',))"


@pytest.mark.parametrize("repeats", [[], [1], [299], [300, 301, 599], list(range(1, 600, 7))])
def test_duplicates_are_those_of_a_set(tmp_path: Path, repeats: list[int]) -> None:
    ids = [f"d{number // 2 if number in repeats else number}" for number in range(600)]
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(f'{{"_id": "{each}", "text": "t"}}\n' for each in ids), encoding="utf-8")
    counts = ReadCounts()
    read = read_documents(corpus, on_duplicate="first", counts=counts)
    assert [document.docid for document in read] == list(dict.fromkeys(ids))
    assert (counts.read, counts.kept) == (600, len(set(ids)))
    if repeats:
        first = next(place for place, each in enumerate(ids) if each in ids[:place])
        with pytest.raises(InputError, match=rf"corpus\.jsonl:{first + 1}: document '{ids[first]}' came before"):
            list(read_documents(corpus))


def test_reading_ahead_is_not_seen(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.tsv"
    corpus.write_text("a\tx\nb\ty\na\tz\n\ue000\tno text for this\x00\nc d\tan id with a blank\n", encoding="utf-8")
    counts, read = ReadCounts(), []
    stream = read_documents(corpus, on_duplicate="first", counts=counts)
    read.append(next(stream).docid)
    assert (counts.read, counts.cleaned) == (1, 0)
    with pytest.raises(InputError, match=r"corpus\.tsv:5: .*white space"):
        read.extend(document.docid for document in stream)
    assert read == ["a", "b", "\ue000"]
    assert (counts.read, counts.duplicates, counts.cleaned) == (4, 1, 1)
    # Of two faults the first is told.
    with pytest.raises(InputError, match=r"corpus\.tsv:3: document 'a' came before"):
        list(read_documents(corpus))
