"""Rows as other people's programs have them: what each column means, and what is refused because nothing says so."""

from __future__ import annotations

import bz2
import gzip
import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from splare_plugins.cli.app import main
from splare_plugins.errors import InputError
from splare_plugins.training.config import TrainingConfig
from splare_plugins.training.data.examples import Example, read_example
from splare_plugins.training.data.mixture import STAMP, prepare
from splare_plugins.training.data.reader import ExampleReader
from splare_plugins.training.data.rows import read_rows
from splare_plugins.training.losses import kl_distillation, margin_mse

TRIPLE = {"query": "q", "positive": "p", "negative": "n"}


def candidates(row: dict[str, Any]) -> list[tuple[str, float | None]]:
    example = read_example(row, "here")
    assert example.query == "q"
    return [tuple(each) for each in example.candidates]


def read(source: Path, **options: Any) -> list[Example]:
    return [example for _, example in ExampleReader(str(source), **options)]


def flat(examples: list[Example]) -> list[tuple[str, ...]]:
    return [(example.query, *(text for text, _ in example.candidates)) for example in examples]


@pytest.mark.parametrize(
    ("row", "scores"),
    [
        ({"anchor": "q", "positive": "p", "negative": "n"}, (None, None)),
        ({"anchor": "q", "positive": "p", "negative_1": "n"}, (None, None)),
        ({**TRIPLE, "label": [2.0, 0.5]}, (2.0, 0.5)),
        ({"query": "q", "pos": [{"text": "p", "score": 2}], "neg": [{"text": "n", "score": 0.5}]}, (2.0, 0.5)),
        (
            {
                "query": "q",
                "query_id": "7",
                "positive_passages": [{"docid": "1", "text": "p", "score": 2.0}],
                "negative_passages": [{"docid": "2", "text": "n", "score": 0.5}],
            },
            (2.0, 0.5),
        ),
        ({"query": "q", "documents": ["n", "p"], "scores": [0.5, 2.0]}, (2.0, 0.5)),
        ({"query": "q", "query_id": "1", "doc_ids": ["a", "b"], "docs": ["n", "p"], "scores": [0.5, 2.0]}, (2.0, 0.5)),
    ],
)
def test_layouts_by_the_names_of_their_columns(row: dict[str, Any], scores: tuple[float | None, ...]) -> None:
    assert candidates({**row, "unknown": {"anything": 1}}) == list(zip(("p", "n"), scores, strict=True))


def test_the_query_is_an_anchor_only_where_there_is_no_query() -> None:
    assert candidates({**TRIPLE, "anchor": "another"}) == [("p", None), ("n", None)]


@pytest.mark.parametrize("column", ["label", "score", "margin"])
@pytest.mark.parametrize("value", [1.5, "1.5", -1.5, 3])
def test_one_number_for_a_triple_is_the_margin(column: str, value: Any) -> None:
    (_, positive), (_, negative) = candidates({**TRIPLE, column: value})
    assert positive is not None and negative is not None
    assert positive - negative == float(value)


def test_margins_train_as_the_scores_that_they_come_from() -> None:
    scores = [4.0, 1.0, 2.5]
    whole = {"query": "q", "positive": "p", "negatives": ["n", "m"], "scores": scores}
    margins = {"query": "q", "pos": ["p"], "neg": ["n", "m"], "margin": [3.0, 1.5]}
    for loss in (kl_distillation, margin_mse):
        results = []
        for row in (whole, margins):
            teacher = torch.tensor([[score for _, score in candidates(row)]])
            student = torch.tensor([[1.0, 3.0, 2.0]], requires_grad=True)
            value = loss(student, teacher, temperature=2.0)
            value.backward()
            results.append((value.detach(), student.grad))
        torch.testing.assert_close(results[0], results[1])
        assert results[0][0] > 0


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({**TRIPLE, "negative_1": "m", "label": 1.5}, "label has 1 margins between 1 positives and 2 negatives"),
        (
            {**TRIPLE, "positive": ["p", "o"], "margin": 1.5},
            "margin has 1 margins between 2 positives and 1 negatives",
        ),
        ({"query": "q", "positive": "p", "margin": 1.5}, "between 1 positives and 0 negatives"),
        ({**TRIPLE, "negative_1": "m", "label": [1.5, 1.0]}, "if these are margins, one a negative, call the column"),
        ({**TRIPLE, "margin": "wide"}, "margin must be a list"),
        ({**TRIPLE, "margin": True}, "margin holds True"),
        ({**TRIPLE, "margin": "nan"}, "margin holds nan"),
        ({**TRIPLE, "positive": {"text": "p", "score": 1.0}, "scores": [1, 2]}, "in scores and in the documents"),
        ({"query": "q", "pos": [{"text": "p", "score": "high"}], "neg": []}, "a score of pos holds 'high'"),
        ({"query": "q", "pos": [{"title": "p"}], "neg": []}, "a passage must have a text"),
        ({"query": "q", "documents": ["a", "b"], "scores": [1.0]}, "scores has 1 scores for 2 documents"),
        ({"qid": "1", "pid": "2", "nid": "3"}, "the row has ids.*--queries QUERIES --corpus CORPUS"),
        ({"query": "q", "pid": "2", "nid": "3"}, "the row has ids"),
    ],
)
def test_what_no_name_gives_a_meaning_is_refused(row: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_example(row, "here")


def test_documents_without_scores_have_no_positive(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"query": "q", "documents": ["a", "b"]}) + "\n")
    with pytest.raises(
        InputError, match=r"a.jsonl:1: the query 'q' has 0 positives and 2 negatives; name the positive"
    ):
        prepare(config(path, loss={"kl": 0, "contrastive": 1}), tmp_path / "data")


def config(source: Path, **options: Any) -> TrainingConfig:
    data = {"source": str(source), **options.pop("data", {})}
    return TrainingConfig.from_dict({"model": "m", "output": "o", "data": [data], "pick": "first", **options})


@pytest.mark.parametrize(
    ("name", "text", "columns"),
    [
        ("a.tsv", "one\tp1\tn1\ntwo\tp2\tn2\n", ("query", "positive", "negative")),
        ("a.txt", "one\tp1\tn1\ntwo\tp2\tn2\n", ("query", "positive", "negative")),
        ("a.csv", "one,p1,n1\n two,p2,n2\n", ("query", "positive", "negative")),
        ("a.tsv", "query\tpositive\tnegative\none\tp1\tn1\ntwo\tp2\tn2\n", ()),
        ("a.tsv", "query\tpositive\tnegative\none\tp1\tn1\ntwo\tp2\tn2\n", ("query", "positive", "negative")),
        ("a.csv", 'Anchor,Positive,note,Negative\none,p1,"a, b",n1\ntwo,p2,,n2\n', ()),
        (
            "a.json",
            json.dumps([{"query": q, "pos": [f"p{n}"], "neg": [f"n{n}"]} for q, n in (("one", 1), ("two", 2))]),
            (),
        ),
    ],
)
@pytest.mark.parametrize("ending", ["", ".gz", ".bz2"])
def test_tables_with_a_header_or_stated_columns(
    tmp_path: Path, name: str, text: str, columns: tuple[str, ...], ending: str
) -> None:
    pack = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress}[ending]
    path = tmp_path / (name + ending)
    path.write_bytes(pack(text.encode()))
    found = flat(read(path, columns=columns))
    assert [(query.strip(), *documents) for query, *documents in found] == [("one", "p1", "n1"), ("two", "p2", "n2")]


def test_a_table_has_scores_and_empty_cells(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("anchor\tpositive\tnegative_1\tnegative_2\tscores\na\tp\tn\t\t[3, 1.5]\nb\tp\tn\tm\t\n")
    first, second = read(path)
    assert [tuple(each) for each in first.candidates] == [("p", 3.0), ("n", 1.5)]
    assert [tuple(each) for each in second.candidates] == [("p", None), ("n", None), ("m", None)]


@pytest.mark.parametrize(
    ("name", "columns", "message"),
    [
        ("a.tsv", (), r"a.tsv:1: no header says what the 3 columns are; name them .*--columns qid,pid,nid"),
        ("a.tsv", ("query", "positive"), r"a.tsv:1: the line of 'one' has 3 columns; it must be query<TAB>positive"),
        ("a.tsv", ("one", "two", "three"), r"a.tsv:1: no column 'query'"),
        ("a.txt", (), r"a.txt has no known format"),
        ("a.jsonl", ("query", "positive", "negative"), r"a.jsonl names its columns itself"),
        ("a.run", ("query", "positive", "negative"), r"a.run names its columns itself"),
    ],
)
def test_a_table_is_not_read_by_its_number_of_columns(
    tmp_path: Path, name: str, columns: tuple[str, ...], message: str
) -> None:
    (tmp_path / name).write_text("one\tp1\tn1\n")
    with pytest.raises(InputError, match=message):
        read(tmp_path / name, columns=columns)


def test_a_header_says_the_same_as_stated_columns(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("positive\tquery\none\tp1\n")
    with pytest.raises(InputError, match=r"is a header \(positive, query\), and columns says query, positive; omit"):
        read(tmp_path / "a.tsv", columns=("query", "positive"))


def test_files_have_no_parts_to_name(tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "a.jsonl").write_text(json.dumps(TRIPLE) + "\n")
    (tmp_path / "beir").mkdir()
    (tmp_path / "beir" / "corpus.jsonl").write_text('{"_id": "d", "text": "x"}\n')
    for place in ("rows", "rows/a.jsonl"):
        for part in ("split", "subset"):
            with pytest.raises(InputError, match=f"has no {part}s, .*; omit {part}"):
                read_rows(str(tmp_path / place), **{part: "dev"})  # type: ignore[arg-type]
    with pytest.raises(InputError, match="has no subsets"):
        read_rows(str(tmp_path / "beir"), subset="dev")
    with pytest.raises(InputError, match="has no dev split"):
        read_rows(str(tmp_path / "beir"), split="dev")


@pytest.fixture
def texts(tmp_path: Path) -> dict[str, str]:
    """Queries and a collection in MS MARCO's files."""
    (tmp_path / "queries.tsv").write_text("11\tone\n12\ttwo\n")
    with gzip.open(tmp_path / "collection.tsv.gz", "wt") as stream:
        stream.write("".join(f"{number}\ttext {number}\n" for number in range(9)))
    return {"queries": str(tmp_path / "queries.tsv"), "corpus": str(tmp_path / "collection.tsv.gz")}


@pytest.mark.parametrize(
    ("name", "text", "columns"),
    [
        ("ids.tsv", "11\t3\t5\n12\t4\t3\n", ("qid", "pid", "nid")),
        ("ids.tsv", "query_id\tpositive_id\tnegative_id\n11\t3\t5\n12\t4\t3\n", ()),
        ("ids.jsonl", '{"query_id": 11, "pid": 3, "nid": [5]}\n{"query": "two", "pid": "4", "nid": "3"}\n', ()),
    ],
)
def test_rows_with_ids_find_their_texts(
    tmp_path: Path,
    texts: dict[str, str],
    name: str,
    text: str,
    columns: tuple[str, ...],
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / name).write_text(text)
    found = flat(read(tmp_path / name, columns=columns, **texts))
    assert found == [("one", "text 3", "text 5"), ("two", "text 4", "text 3")]
    assert caplog.text.count("is taken as the header") == (0 if columns or name == "ids.jsonl" else 1)


def test_margins_of_ids(tmp_path: Path, texts: dict[str, str]) -> None:
    path = tmp_path / "ids.jsonl"
    path.write_text('{"query_id": 11, "positive_id": 3, "negative_id": 5, "score": 2.5}\n')
    prepared = prepare(config(path, data=texts), tmp_path / "data")
    assert prepared.to_list() == [
        {"query": "one", "documents": ["text 3", "text 5"], "scores": [0.0, -2.5], "source": 0}
    ]


def test_other_texts_of_the_same_ids_make_other_examples(tmp_path: Path, texts: dict[str, str]) -> None:
    path = tmp_path / "ids.tsv"
    path.write_text("11\t3\t5\n")
    settings = config(path, data={**texts, "columns": ["qid", "pid", "nid"]}, loss={"kl": 0, "contrastive": 1})
    assert prepare(settings, tmp_path / "data")["query"] == ["one"]
    written = (tmp_path / "data" / "examples.arrow").stat().st_ino
    prepare(settings, tmp_path / "data")
    assert (tmp_path / "data" / "examples.arrow").stat().st_ino == written
    Path(texts["queries"]).write_text("11\tanother\n12\ttwo\n")
    assert prepare(settings, tmp_path / "data")["query"] == ["another"]


@pytest.mark.parametrize(
    ("row", "missing", "message"),
    [
        ({"qid": 13, "pid": 3, "nid": 5}, "", r"ids.jsonl:1: .*queries.tsv has no query 13"),
        ({"qid": 11, "pid": 3, "nid": 99}, "", r"ids.jsonl:1: .*collection.tsv.gz has no document 99"),
        (
            {"qid": 11, "pid": 3, "nid": 5},
            "queries",
            r"ids.jsonl:1: .*name the file .*--queries FILE",
        ),
        (
            {"qid": 11, "pid": 3, "nid": 5},
            "corpus",
            r"ids.jsonl:1: .*name the file .*--corpus FILE",
        ),
    ],
)
def test_an_id_without_a_text_is_refused(
    tmp_path: Path, texts: dict[str, str], row: dict[str, Any], missing: str, message: str
) -> None:
    (tmp_path / "ids.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(InputError, match=message):
        read(tmp_path / "ids.jsonl", **{name: place for name, place in texts.items() if name != missing})


def test_the_scores_of_a_run_are_a_teachers(
    tmp_path: Path, texts: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "teacher.run.gz"
    path.write_bytes(gzip.compress(b"11 Q0 5 2 1.5 t\n11 Q0 3 1 4.0 t\n12 Q0 4 1 2 t\n12 Q0 3 2 1 t\n"))
    first, second = read(path, **texts)
    assert (first.query, [tuple(each) for each in first.candidates]) == ("one", [("text 3", 4.0), ("text 5", 1.5)])
    assert flat([second]) == [("two", "text 4", "text 3")]
    assert "the document of the highest score is taken as the positive" in caplog.text
    (tmp_path / "ranks.run").write_text("11\t3\t1\n11\t5\t2\n")
    with pytest.raises(InputError, match=r"ranks\.run holds ranks and no scores"):
        read(tmp_path / "ranks.run", **texts)


def test_sources_with_texts_of_their_own_take_no_others(tmp_path: Path) -> None:
    (tmp_path / "corpus.jsonl").write_text('{"_id": "d", "text": "x"}\n')
    for options in ({"columns": ("qid", "pid")}, {"queries": "queries.tsv"}, {"corpus": "corpus.tsv"}):
        for source in (str(tmp_path), "irds:tiny"):
            with pytest.raises(InputError, match="columns, queries and corpus are for files of rows"):
                read_rows(source, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("row", "kept"),
    [
        ({"query": "q", "positive": "A text", "negatives": ["a  text", "n"], "scores": [3, 2, 1]}, [("n", 1.0)]),
        ({"query": "q", "positive": "p", "negatives": ["p", "n"], "margin": [0, 2.0]}, [("n", -2.0)]),
        ({"query": "q", "pos": ["p", "o"], "neg": ["o", "n"]}, [("n", None)]),
        ({"query": "q", "documents": ["p", "n", "p"], "scores": [3, 1, 2]}, [("n", 1.0)]),
        (
            {
                "query": "q",
                "positive_passages": [{"docid": 1, "text": "p"}],
                "negative_passages": [{"docid": "1", "text": "p, cut"}, {"docid": "2", "text": "n"}],
            },
            [("n", None)],
        ),
    ],
)
def test_a_negative_that_is_the_positive_is_left_out(
    row: dict[str, Any], kept: list[tuple[str, float | None]]
) -> None:
    example = read_example(row, "here")
    assert ([tuple(each) for each in example.negatives], example.copies) == (kept, 1)


def test_negatives_that_are_like_a_positive_or_one_another_stay() -> None:
    example = read_example({"query": "q", "positive": "p", "negatives": ["p.", "q", "n", "n"]}, "here")
    assert ([text for text, _ in example.negatives], example.copies) == (["p.", "q", "n", "n"], 0)


def test_what_is_left_out_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.jsonl"
    rows = [
        {"query": "q", "positive": "p", "negatives": ["p", "n"], "scores": [3, 2, 1]},
        {"query": "all", "positive": "p", "negatives": ["p", "P"], "scores": [3, 2, 1]},
        {"query": "last", "positive": "p", "negatives": ["n", "p"], "scores": [3, 2, 1]},
        {"query": "not read", "positive": "p", "negatives": ["n", "p"], "scores": [3, 2, 1]},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = prepare(config(path, data={"invalid": "skip", "limit": 2}), tmp_path / "data")
    assert [(row["query"], row["documents"], row["scores"]) for row in found] == [
        ("q", ["p", "n"], [3.0, 1.0]),
        ("last", ["p", "n"], [3.0, 2.0]),
    ]
    counts = json.loads((tmp_path / "data" / STAMP).read_text())["counts"]
    assert counts == {str(path): {"used": 2, "copies": 4, "invalid": 1}}
    assert f"{path}: left out 4 negatives that are their row's positive" in caplog.text


def test_what_a_column_is_taken_for_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({**TRIPLE, "label": 1.5}) + "\n" for _ in range(3)))
    read(path)
    (message,) = caplog.messages
    assert message.startswith(
        f"{path}:1: rows are read as query, positive, negative, label; label is taken as a margin"
    )
    caplog.clear()
    path.write_text(json.dumps({**TRIPLE, "scores": [2, 1]}) + "\n")
    read(path)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_the_program_reads_tables_of_ids(
    tmp_path: Path,
    texts: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "ids.tsv").write_text("11\t3\t5\n12\t4\t4\n")
    output = tmp_path / "vectors.safetensors"
    arguments = ["train", "embed", str(tmp_path / "ids.tsv"), "-t", "bm25", "-o", str(output), "--json"]
    stated = ["--columns", "qid, pid,nid", "--queries", texts["queries"], "--corpus", texts["corpus"]]
    with pytest.raises(SystemExit) as stop:
        main([*arguments, *stated])
    captured = capsys.readouterr()
    assert (stop.value.code or 0) == 0, captured.err
    assert json.loads(captured.out)["queries"] == 2 and json.loads(captured.out)["documents"] == 3
    assert "left out 1 negatives" in caplog.text
    with pytest.raises(SystemExit) as stop:
        main([*arguments[:5], "-o", str(tmp_path / "other")])
    assert (stop.value.code, "no header says" in " ".join(capsys.readouterr().err.split())) == (2, True)


def test_what_is_told_fits_a_file_too(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("anchor\tpositive\tnegative\nfox\ta fox\tA fox\n")
    command = [sys.executable, "-m", "splare_plugins", "train", "embed", "a.tsv", "-t", "bm25", "-o", "vectors"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stderr.splitlines() == [
        "warning: a.tsv:1: the first line is taken as the header: anchor, positive, negative",
        "warning: a.tsv: left out 1 negatives that are their row's positive",
    ]
