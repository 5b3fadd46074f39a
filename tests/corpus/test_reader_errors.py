"""What readers refuse: one sentence that names file, line and id."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from splare_plugins.corpus import Fields, read_documents, read_queries
from splare_plugins.errors import InputError, MissingPartError

from .conftest import Write

GOOD = b'{"_id": "d1", "text": "x"}\n'


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"_id": "d2", "text": "x"', r"not valid JSON: .* \(column 26\)"),
        (b'["d2", "x"]', r"must hold a JSON object"),
        (b"[" * 100_000, r"cannot be read as JSON"),
        (b'{"_id": "d2", "text": ' + b"1" * 5000 + b"}", r"cannot be read as JSON"),
        (b'{"_id": "d2", "text": "\xff"}', r"byte 24 of the line \(0xff\) is not UTF-8"),
        (b'{"text": "x"}', r'has no id; it needs a field "_id" or "id"'),
        (b'{"_id": null, "text": "x"}', r"has no id"),
        (b'{"_id": 7.5, "text": "x"}', r"must be a string or a whole number, not 7.5"),
        (b'{"_id": "", "text": "x"}', r"the id is empty"),
        (b'{"_id": "a b", "text": "x"}', r"'a b' holds white space \(U\+0020\)"),
        (b'{"_id": "a\\u2003b", "text": "x"}', r"white space \(U\+2003\)"),
        (b'{"_id": "a\\u0000", "text": "x"}', r"'a\\x00' holds a control character \(U\+0000\)"),
        (b'{"_id": "a\\ud800", "text": "x"}', r"holds a lone surrogate \(\\ud800\)"),
        (b'{"_id": "' + "ü".encode() * 257 + b'", "text": "x"}', r"has 514 bytes, more than the 512"),
        (b'{"_id": "d2"}', r"the document 'd2' has no text; it needs a field \"text\" or \"contents\""),
        (b'{"_id": "d2", "text": null}', r"'d2' has no text"),
        (b'{"_id": "d2", "text": ["x"]}', r"'d2': the text must be a string"),
        (b'{"_id": "d2", "text": "x", "title": 5}', r"'d2': the text must be a string"),
        (b'{"_id": "d2", "text": "ab\\udc00"}', r"'d2': character 3 of the text is a lone surrogate \(\\udc00\)"),
        (b'{"_id": "d1", "text": "y"}', r"document 'd1' came before; ids must be unique"),
    ],
)
def test_a_bad_line(write: Write, line: bytes, message: str) -> None:
    path = write("corpus.jsonl", GOOD + b"\n" + line + b"\n" + GOOD)
    with pytest.raises(InputError, match=rf"corpus\.jsonl:3: .*{message}") as caught:
        list(read_documents(path))
    assert "\n" not in str(caught.value)
    str(caught.value).encode()  # an id with a surrogate must not break the terminal either


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("d2", r"'d2' has 1 columns"),
        ("d2\ta\tb\tc", r"'d2' has 4 columns; it must be id<TAB>text$"),
        ("\tx", r"the id is empty"),
        ("d1\tx", r"document 'd1' came before"),
    ],
)
def test_a_bad_tsv_line(write: Write, line: str, message: str) -> None:
    with pytest.raises(InputError, match=rf"c\.tsv:2: .*{message}"):
        list(read_documents(write("c.tsv", ["d1\tx", line])))


def test_queries_of_three_columns(write: Write) -> None:
    with pytest.raises(InputError, match=r"q\.tsv:2: .*has 3 columns; it must be id<TAB>text$"):
        read_queries(write("q.tsv", ["q0\ta", "q1\ta\tb"]))


@pytest.mark.parametrize("read", [read_documents, read_queries])
@pytest.mark.parametrize("name", ["x.tsv", "x.csv"])
def test_columns_whose_meaning_nobody_says(write: Write, read: Callable[..., Any], name: str) -> None:
    mark = "," if name == "x.csv" else "\t"
    with pytest.raises(InputError, match=rf"{name}:1: .*has 3 columns and no header .*; add a first line"):
        list(read(write(name, [mark.join(("a", "b", "c"))])))
    with pytest.raises(InputError, match=r":1: these are judgements \(query-id, corpus-id, score\), not"):
        list(read(write(name, [mark.join(("query-id", "corpus-id", "score"))])))
    with pytest.raises(InputError, match=r":1: this looks like a header \(id, sentence\) that names no text"):
        list(read(write(name, [mark.join(("id", "sentence"))])))
    with pytest.raises(InputError, match=r":1: the first line is no header that names sentence"):
        list(read(write(name, [mark.join(("7", "a text"))]), fields=Fields(text="sentence")))


def test_topics_that_are_none(write: Write) -> None:
    top = "<top>\n<num> Number: 301\n<desc> Description:\nabout it\n</top>"
    with pytest.raises(InputError, match=r"topic 1 \(301\) has no title; add it \(there are description\)$"):
        read_queries(write("topics.txt", top))
    with pytest.raises(InputError, match=r"topic 1 has no number"):
        read_queries(write("topics.txt", top.replace("num>", "x>")))
    with pytest.raises(InputError, match=r"topics\.txt holds topics, not documents"):
        list(read_documents(write("topics.txt", top)))
    with pytest.raises(InputError, match=r"holds no <top>, <topic> or <query>"):
        read_queries(write("topics.xml", "<other><thing/></other>"))
    with pytest.raises(InputError, match=r"has no known form"):
        read_queries(write("topics.txt", "just words"))


def test_duplicates_are_found_across_files(write: Write) -> None:
    files = [write("a.tsv", ["d1\tx"]), write("b.tsv", ["d2\tx", "d1\tx"])]
    with pytest.raises(InputError, match=r"b\.tsv:2: document 'd1' came before"):
        list(read_documents(files))


@pytest.mark.parametrize("cut", [5, -4, -12])
@pytest.mark.parametrize("ending", ["gz", "bz2", "xz", "zst"])
def test_a_compressed_file_that_is_cut_off(write: Write, cut: int, ending: str) -> None:
    path = write(f"c.jsonl.{ending}", GOOD.decode())
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(InputError, match=r"c\.jsonl\.\w+:\d+: the compressed file is damaged or cut off"):
        list(read_documents(path))


def test_a_file_that_is_not_compressed(write: Write, tmp_path: Path) -> None:
    path = write("c.jsonl", GOOD).rename(tmp_path / "c.jsonl.gz")
    with pytest.raises(InputError, match=r"damaged"):
        list(read_documents(path))


def test_sources_that_cannot_be_read(write: Write, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write("both/corpus.jsonl", GOOD)
    write("both/corpus.jsonl.gz", GOOD)
    write("parts/a.jsonl", GOOD)
    write("parts/a.jsonl.gz", GOOD)
    write("text.docx", GOOD)
    for name, message in {
        "nowhere.jsonl": "does not exist",
        "empty": "holds no corpus",
        "both": "holds both corpus.jsonl and corpus.jsonl.gz",
        "parts": "holds both a.jsonl and a.jsonl.gz",
        "text.docx": "has no known format",
    }.items():
        with pytest.raises(InputError, match=message):
            read_documents(tmp_path / name)
    with pytest.raises(InputError, match=r"no document file was given"):
        read_documents([])
    with pytest.raises(InputError, match=r"is a folder"):
        read_documents([tmp_path / "empty"])
    with pytest.raises(InputError, match=r"holds no queries\.jsonl"):
        read_queries(tmp_path / "parts")
    with pytest.raises(InputError, match=r"holds no query"):
        read_queries(write("q.tsv", ""))
    with pytest.raises(InputError, match=r"on_duplicate must be"):
        read_documents(tmp_path / "both" / "corpus.jsonl", on_duplicate="last")


def test_an_unknown_ir_datasets_name() -> None:
    with pytest.raises(InputError, match=r"does not know the data set 'no/such/set'"):
        read_documents("irds:no/such/set")


def test_ir_datasets_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ir_datasets", None)
    with pytest.raises(MissingPartError, match=r"pip install 'splare-plugins\[datasets\]'"):
        read_documents("irds:vaswani")
