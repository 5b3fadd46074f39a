"""TREC runs and judgements."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from splare_plugins.corpus import read_qrels, read_run, write_run
from splare_plugins.engines import Hits
from splare_plugins.errors import InputError

from .conftest import Write


def hits(**scores: float) -> Hits:
    return Hits(list(scores), np.array(list(scores.values()), dtype=np.float64))


def test_a_run_as_it_is_written(tmp_path: Path) -> None:
    run = {"q2": hits(b=97537500, a=12, c=12), "q1": hits(), "q3": hits(x=0.1, y=-1e-300)}
    write_run(tmp_path / "runs" / "run.trec", run, tag="mine")
    assert (tmp_path / "runs" / "run.trec").read_text().splitlines() == [
        "q2 Q0 b 1 97537500 mine",
        "q2 Q0 a 2 12 mine",
        "q2 Q0 c 3 12 mine",
        "q3 Q0 x 1 0.1 mine",
        "q3 Q0 y 2 -1e-300 mine",
    ]


ID = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]), min_size=1, max_size=8)
SCORE = st.integers(1, 2**53) | st.floats(allow_nan=False, allow_infinity=False)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(run=st.dictionaries(ID, st.dictionaries(ID, SCORE, min_size=1, max_size=6), max_size=4))
def test_round_trip(tmp_path: Path, run: dict[str, dict[str, float]]) -> None:
    ranked = {}
    for qid, scores in run.items():
        docids = sorted(scores, key=lambda docid: -float(scores[docid]))
        ranked[qid] = Hits(docids, np.array([scores[docid] for docid in docids], dtype=np.float64))
    write_run(tmp_path / "run", ranked)
    back = read_run(tmp_path / "run")
    assert list(back) == list(ranked)
    for qid, expected in ranked.items():
        assert back[qid].docids == expected.docids
        assert back[qid].scores.tolist() == expected.scores.tolist()


def test_the_score_decides_the_order(write: Write) -> None:
    run = read_run(write("run.gz", ["q Q0 a 1 3 t", "q Q0 b 2 9e0 t", "", "q\tQ0\tc\t3\t3.0\tt"]))
    assert run["q"].docids == ["b", "a", "c"]
    assert run["q"].scores.tolist() == [9, 3, 3]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("q Q0 b 2 3", r"has 5 columns"),
        ("q Q0 b c 2 3 t", r"has 7 columns"),
        ("q Q0 b 2 nan t", r"the score must be a finite number, not 'nan'"),
        ("q Q0 b 2 inf t", r"the score must be a finite number, not 'inf'"),
        ("q Q0 b 2 high t", r"the score must be a finite number, not 'high'"),
        ("q Q0 a 2 3 t", r"the document 'a' comes twice for the query 'q'"),
    ],
)
def test_bad_lines_of_a_run(write: Write, line: str, message: str) -> None:
    with pytest.raises(InputError, match=rf"run:2: .*{message}"):
        read_run(write("run", ["q Q0 a 1 3 t", line]))


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ({"a b": hits(d=1)}, r"'a b' cannot stand in a TREC run"),
        ({"q": Hits(["d\u00a0"], np.array([1.0]))}, r"cannot stand"),
        ({"q": Hits([""], np.array([1.0]))}, r"cannot stand"),
        ({"q": hits(d=float("nan"))}, r"'q' has a score that is not a finite number"),
        ({"q": hits(a=1, b=2)}, r"'q' are not in the order of their scores"),
    ],
)
def test_runs_that_are_not_written(tmp_path: Path, run: dict[str, Hits], message: str) -> None:
    (tmp_path / "run").write_text("old")
    with pytest.raises(InputError, match=message):
        write_run(tmp_path / "run", {"first": hits(d=1), **run})
    assert (tmp_path / "run").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_tag_is_one_word(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"one word, not 'my run'"):
        write_run(tmp_path / "run", {}, tag="my run")


@pytest.mark.parametrize(
    "lines",
    [
        ["query-id\tcorpus-id\tscore", "q1\ta\t2", "q1\tb\t0", "q2\ta\t1"],
        ["q1 0 a 2", "q1 0 b 0", "", "q2\t0\ta\t1"],
        ["q1 a 2.0", "q1 b 0", "q2 a 1"],
        ["q1 0 a 2", "q1 0 a 2.0", "q1 0 b 0", "q2 0 a 1"],
        ["#topic\titer\tdocno\trel", "q1\t0\ta\t2", "q1\t0\tb\t0", "q2\t0\ta\t1"],
        ["score\tqid\tpid", "2\tq1\ta", "0\tq1\tb", "1\tq2\ta"],
    ],
    ids=["beir", "trec", "bare", "twice", "header of trec", "another order"],
)
@pytest.mark.parametrize("name", ["test.tsv", "test.tsv.gz"])
def test_judgements(write: Write, lines: list[str], name: str) -> None:
    assert read_qrels(write(name, lines)) == {"q1": {"a": 2, "b": 0}, "q2": {"a": 1}}


def test_judgements_of_a_beir_folder(write: Write, tmp_path: Path) -> None:
    write("set/qrels/test.tsv", ["query-id\tcorpus-id\tscore", "q\ta\t1"])
    write("set/qrels/train.tsv", ["query-id\tcorpus-id\tscore", "q\tb\t1"])
    assert read_qrels(tmp_path / "set") == read_qrels(tmp_path / "set" / "qrels") == {"q": {"a": 1}}
    with pytest.raises(InputError, match=r"has no test split: it holds no qrels/test\.tsv"):
        read_qrels(tmp_path)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["query-id\tcorpus-id\tscore", "q\ta\t1", "q\t0\ta\t1"], r":3: this line has 4 columns"),
        (["q 0 a 1", "q a 1"], r":2: this line has 3 columns, and the first one has 4"),
        (["q\t1"], r":1: this line has 2 columns; .*query-id, corpus-id and score"),
        (["q 0 a 1", "q 0 b high"], r":2: the relevance of 'b' must be a whole number, not 'high'"),
        (["q 0 a 1.5"], r":1: the relevance of 'a' must be a whole number"),
        (["q 0 a 1", "q 0 a 0"], r":2: the document 'a' is judged twice for the query 'q'"),
        (["query-id\tcorpus-id\tscore"], r"holds no judgement"),
    ],
)
def test_bad_judgements(write: Write, lines: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_qrels(write("qrels", lines))


def test_judgements_in_csv_and_jsonl(write: Write) -> None:
    assert read_qrels(write("q.csv", ["query-id,corpus-id,score", "q1,a,1"])) == {"q1": {"a": 1}}
    assert read_qrels(write("q.jsonl", ['{"query-id": 1, "corpus-id": "a", "score": 1.0}'])) == {"1": {"a": 1}}
    with pytest.raises(InputError, match=r":1: judgements have query-id, corpus-id and score, not q, d"):
        read_qrels(write("q.jsonl", ['{"q": 1, "d": "a"}']))


def test_splits(write: Write, tmp_path: Path) -> None:
    write("qrels/dev.tsv", ["query-id\tcorpus-id\tscore", "q\tb\t1"])
    assert read_qrels(tmp_path, split="dev") == {"q": {"b": 1}}
    with pytest.raises(InputError, match=r"has no test split: its splits are dev; name one with --split"):
        read_qrels(tmp_path)
    with pytest.raises(InputError, match=r"omit --split"):
        read_qrels(tmp_path / "qrels" / "dev.tsv", split="dev")


def test_a_run_of_msmarco(write: Write) -> None:
    run = read_run(write("run.tsv", ["q1\ta\t2", "q1\tb\t1", "q2\ta\t1"]))
    assert {qid: hits.docids for qid, hits in run.items()} == {"q1": ["b", "a"], "q2": ["a"]}
    with pytest.raises(InputError, match=r":1: the rank must be a whole number from 1, not '0.5'"):
        read_run(write("run.tsv", ["q1\ta\t0.5"]))


def test_missing_files(tmp_path: Path) -> None:
    for read in (read_run, read_qrels):
        with pytest.raises(InputError, match=r"cannot read .*nowhere: No such file"):
            read(tmp_path / "nowhere")


SUBTOPICS = ["1 1 a 2", "1 2 a 0", "1 2 b -2", "1 1 b 1", "1 3 a 2", "2 1 a 0", "2 2 a 0"]


@pytest.mark.parametrize("header", [[], ["#topic\tsubtopic\tdocno\trel"]])
def test_subtopics_that_disagree(write: Write, header: list[str]) -> None:
    path = write("qrels", [*header, *SUBTOPICS])
    assert read_qrels(path, subtopics="max") == {"1": {"a": 2, "b": 1}, "2": {"a": 0}}
    with pytest.raises(
        InputError,
        match=r"'a' .* '1', 2 before and 0 here under the subtopic 2; --subtopics max .*highest",
    ):
        read_qrels(path)
    # Those that agree need nothing.
    assert read_qrels(write("qrels", SUBTOPICS[-2:])) == {"2": {"a": 0}}


@pytest.mark.parametrize("line", ["1 1 a 0", "1 1 a 3"])
def test_a_contradiction_under_one_subtopic_is_none_of_subtopics(write: Write, line: str) -> None:
    path = write("qrels", [*SUBTOPICS, line])
    with pytest.raises(InputError, match=r":8: .* 'a' is judged twice for .* 2 before and \d here; remove one"):
        read_qrels(path, subtopics="max")
    bare = write("bare", ["q a 1", "q a 0"])
    with pytest.raises(InputError, match=r"1 before and 0 here; remove one"):
        read_qrels(bare, subtopics="max")
    with pytest.raises(InputError, match="subtopics must be 'max'"):
        read_qrels(path, subtopics="mean")  # type: ignore[arg-type]
