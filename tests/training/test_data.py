"""Training data in every layout that is read, and what is refused before the first step."""

from __future__ import annotations

import gzip
import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from splare_plugins.errors import InputError
from splare_plugins.st import SplareEncoder
from splare_plugins.training.config import TrainingConfig
from splare_plugins.training.data.examples import read_example
from splare_plugins.training.data.mixture import STAMP, Collator, prepare
from splare_plugins.training.data.rows import read_rows
from tests.tiny import tiny_model

ROW = {"query": "q", "positive": "p", "negatives": ["n1", "n2", "n3"], "scores": [3.0, 1.0, 0.5, 0.1]}


@pytest.fixture(autouse=True)
def _no_cache_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def config(source: Path | str, **options: Any) -> TrainingConfig:
    data = {"source": str(source), **options.pop("data", {})}
    return TrainingConfig.from_dict({"model": "m", "output": "o", "data": [data], **options})


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.parquet"])
def test_files_give_the_same_examples(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, [ROW, {**ROW, "query": "other"}])
    found = prepare(config(path, pick="first", negatives=2), tmp_path / "data")
    assert found.to_list() == [
        {"query": query, "documents": ["p", "n1", "n2"], "scores": [3.0, 1.0, 0.5], "source": 0}
        for query in ("q", "other")
    ]


@pytest.mark.parametrize(
    "row",
    [
        # hanhainebula/bge-multilingual-gemma2-data
        {
            "query": "q",
            "pos": ["p"],
            "neg": ["n1", "n2", "n3"],
            "pos_scores": [3.0],
            "neg_scores": [1.0, 0.5, 0.1],
            "prompt": "Given a question, retrieve passages",
        },
        {
            "query": "q",
            "positive": "p",
            "negative_1": "n1",
            "negative_2": "n2",
            "negative_3": "n3",
            "score": ROW["scores"],
        },
        {"query": "q", "positive": ["p"], "negatives": ["n1", "n2", "n3"], "scores": str(ROW["scores"])},
    ],
)
def test_published_layouts_are_the_same_example(row: dict[str, Any]) -> None:
    wanted = read_example(ROW, "here")
    assert read_example(row, "there") == wanted
    assert [text for text, _ in wanted.candidates] == ["p", "n1", "n2", "n3"]
    assert [score for _, score in wanted.candidates] == ROW["scores"]


def test_passages_with_titles_have_no_scores() -> None:
    row = {
        "query_id": "7",
        "query": "q",
        "positive_passages": [{"docid": "1", "title": "T", "text": "p"}],
        "negative_passages": [{"docid": "2", "title": "", "text": "n"}],
    }
    example = read_example(row, "here")
    assert [(text, score) for text, score in example.candidates] == [("T p", None), ("n", None)]


def test_a_published_set_with_ids_is_joined_with_its_texts(tmp_path: Path) -> None:
    """The layout of lightonai/ms-marco-en-bge, as a copy on disk."""
    folder = tmp_path / "ms-marco-copy"
    tables = {
        "train": [
            {"query_id": 11, "document_ids": [5, 6, 7], "scores": [0.2, 0.9, 0.1]},
            # As older copies have it.
            {"query_id": 12, "document_ids": [7, 5, 6], "scores": [0.3, 0.2, 0.1]},
        ],
        "queries": [{"query_id": 12, "text": "second"}, {"query_id": 11, "text": "first"}],
        "documents": [{"document_id": number, "text": f"text {number}"} for number in (7, 6, 5)],
    }
    for name, rows in tables.items():
        write(folder / f"{name}.parquet", rows)
    listed = "".join(f"- config_name: {name}\n  data_files: {name}.parquet\n" for name in tables)
    (folder / "README.md").write_text(f"---\nconfigs:\n{listed}---\n", encoding="utf-8")
    examples = [read_example(row, where, lookup) for where, row, lookup in read_rows(str(folder))]
    assert [example.query for example in examples] == ["first", "second"]
    # The teacher's favourite is the positive.
    assert [tuple(each) for each in examples[0].candidates] == [("text 6", 0.9), ("text 5", 0.2), ("text 7", 0.1)]


def test_a_published_set_is_read_subset_by_subset(tmp_path: Path) -> None:
    """The layout of hanhainebula/bge-multilingual-gemma2-data: subsets with a split a language."""
    folder = tmp_path / "bge-copy"
    row = {"query": "q", "pos": ["p"], "neg": ["n"], "pos_scores": [1.0], "neg_scores": [0.0], "prompt": ""}
    unscored = {**row, "query": "no scores", "pos_scores": None, "neg_scores": None}
    write(folder / "ko.jsonl", [{**row, "query": "ko"}])
    write(folder / "ar.jsonl", [{**row, "query": "ar"}, unscored])
    write(folder / "en.jsonl", [{**row, "query": "en"}])
    (folder / "README.md").write_text(
        "---\nconfigs:\n- config_name: multilingual_miracl\n  data_files:\n"
        "  - split: ko_train\n    path: ko.jsonl\n  - split: ar_train\n    path: ar.jsonl\n"
        "- config_name: en_msmarco\n  data_files: en.jsonl\n---\n",
        encoding="utf-8",
    )
    found = prepare(config(folder, data={"unscored": "skip"}), tmp_path / "all")
    assert sorted(found["query"]) == ["ar", "en", "ko"]
    assert json.loads((tmp_path / "all" / STAMP).read_text())["counts"] == {str(folder): {"used": 3, "unscored": 1}}
    one = prepare(config(folder, data={"subset": "multilingual_miracl", "split": "ko_train"}), tmp_path / "one")
    assert one["query"] == ["ko"]
    with pytest.raises(InputError, match="cannot read the data set"):
        read_rows(str(folder), subset="multilingual_mrtydi")


def beir(folder: Path) -> Path:
    write(folder / "corpus.jsonl", [{"_id": f"d{n}", "title": "T", "text": f"text {n}"} for n in range(4)])
    write(folder / "queries.jsonl", [{"_id": "q1", "text": "one"}, {"_id": "q2", "text": "two"}])
    (folder / "qrels").mkdir()
    (folder / "qrels" / "train.tsv").write_text(
        "query-id\tcorpus-id\tscore\nq1\td0\t1\nq1\td1\t2\nq1\td2\t0\nq2\td3\t1\n", encoding="utf-8"
    )
    return folder


def test_a_beir_folder_gives_one_example_a_relevant_document(tmp_path: Path) -> None:
    found = prepare(config(beir(tmp_path / "beir"), loss={"kl": 0, "contrastive": 1}), tmp_path / "data")
    assert [(row["query"], row["documents"]) for row in found] == [
        ("one", ["T text 0", "T text 2"]),
        ("one", ["T text 1", "T text 2"]),
        ("two", ["T text 3"]),
    ]
    with pytest.raises(InputError, match="no dev split"):
        list(read_rows(str(tmp_path / "beir"), split="dev"))


def test_irds_triples_and_judgements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ir_datasets
    from ir_datasets.formats import TrecQrels, TsvDocPairs, TsvDocs, TsvQueries
    from ir_datasets.util import PackageDataFile

    class Local(PackageDataFile):  # type: ignore[misc]
        def __init__(self, name: str, text: str) -> None:
            super().__init__(str(tmp_path / name))
            (tmp_path / name).write_text(text, encoding="utf-8")

        @contextmanager
        def stream(self) -> Iterator[Any]:
            with (tmp_path / self._path).open("rb") as stream:
                yield stream

    parts = (
        TsvDocs(Local("docs.tsv", "a\ttext a\nb\ttext b\n"), namespace="tiny"),
        TsvQueries(Local("queries.tsv", "1\tone\n"), namespace="tiny", lang="en"),
    )
    triples = TsvDocPairs(Local("pairs.tsv", "1\ta\tb\n"))
    judged = TrecQrels(Local("qrels", "1 0 b 1\n1 0 a 0\n"), {0: "no", 1: "yes"})
    sets = {"triples": ir_datasets.Dataset(*parts, triples), "judged": ir_datasets.Dataset(*parts, judged)}
    sets["topics"] = ir_datasets.Dataset(parts[1])
    monkeypatch.setattr(ir_datasets, "load", sets.__getitem__)
    (pair,) = [read_example(row, where) for where, row, _ in read_rows("irds:triples")]
    assert (pair.query, [text for text, _ in pair.candidates]) == ("one", ["text a", "text b"])
    (one,) = [read_example(row, where) for where, row, _ in read_rows("irds:judged")]
    assert [text for text, _ in one.candidates] == ["text b", "text a"]
    with pytest.raises(InputError, match="does not know the data set"):
        read_rows("irds:no-such-set")
    with pytest.raises(InputError, match="no triples and no judgements"):
        read_rows("irds:topics")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{key: value for key, value in ROW.items() if key != "scores"}], r"a.jsonl:1: no teacher scores"),
        ([ROW, {**ROW, "scores": [1, 1, 1, 1]}], r"a.jsonl:2: all 4 teacher scores are 1.0"),
        ([{**ROW, "negatives": [], "scores": [1.0]}], r"a.jsonl:1: the query 'q' has 1 positives and 0 negatives"),
        ([{**ROW, "positive": [], "scores": [1.0, 2.0, 3.0]}], r"a.jsonl:1: the query 'q' has 0 positives"),
        ([{**ROW, "scores": [1.0, 2.0]}], r"a.jsonl:1: scores has 2 scores for 4 documents"),
        ([{**ROW, "scores": [1.0, 2.0, 3.0, None]}], r"a.jsonl:1: scores holds None"),
        ([{**ROW, "scores": [1.0, 2.0, 3.0, math.nan]}], r"a.jsonl:1: scores holds nan"),
        ([{**ROW, "scores": "[1, 2"}], r"a.jsonl:1: scores must be a list"),
        ([{**ROW, "query": " "}], r"a.jsonl:1: the query is blank"),
        ([{**ROW, "query": 5}], r"a.jsonl:1: query: the text must be a string"),
        ([{**ROW, "negatives": ["", "a", "b"]}], r"a.jsonl:1: 1 documents are blank"),
        ([{"question": "q", "positive": "p"}], r"a.jsonl:1: no column 'query'; rows hold query"),
        ([{"query": "q", "document": "p"}], r"a.jsonl:1: no column for the positive"),
        ([{"query_id": 1, "document_ids": [2]}], r"a.jsonl:1: the row has ids"),
        ([], r"a.jsonl holds no example that can be trained on \(no rows\)"),
    ],
)
def test_rows_that_teach_nothing_are_refused_with_file_and_line(
    tmp_path: Path, rows: list[dict[str, Any]], message: str
) -> None:
    path = write(tmp_path / "a.jsonl", rows)
    with pytest.raises(InputError, match=message):
        prepare(config(path), tmp_path / "data")
    assert not list(tmp_path.glob("data/*"))


def test_what_is_skipped_is_counted(tmp_path: Path) -> None:
    rows = [ROW, {**ROW, "scores": [1, 1, 1, 1]}, {**ROW, "scores": None}, {**ROW, "query": "last"}]
    found = prepare(
        config(write(tmp_path / "a.jsonl", rows), data={"invalid": "skip", "unscored": "skip"}), tmp_path / "data"
    )
    assert found["query"] == ["q", "last"]
    counts = json.loads((tmp_path / "data" / STAMP).read_text())["counts"]
    assert list(counts.values()) == [{"used": 2, "invalid": 1, "unscored": 1}]


def test_rows_may_lack_optional_columns_and_have_others(tmp_path: Path) -> None:
    bare = {name: value for name, value in ROW.items() if name != "scores"}
    rows = [ROW, {**ROW, "query": "more", "source": "web"}, bare, {**ROW, "scores": None, "pos": None}]
    path = write(tmp_path / "a.jsonl", rows)
    for data in ({"unscored": "skip"}, {"unscored": "skip", "invalid": "skip"}):
        found = prepare(config(path, data=data), tmp_path / f"data-{len(data)}")
        assert found["query"] == ["q", "more"]
    with pytest.raises(InputError, match=r"a\.jsonl:3: no teacher scores; .*`unscored: skip`"):
        prepare(config(path, data={"invalid": "error"}), tmp_path / "data")
    half = {"query": "half", "pos": ["p"], "neg": ["n", "m"], "pos_scores": [3.0]}
    found = prepare(config(write(path, [ROW, half]), data={"unscored": "skip"}), tmp_path / "data")
    assert found["query"] == ["q"]


def test_the_seed_picks_the_negatives_and_a_limit_the_rows(tmp_path: Path) -> None:
    many = {**ROW, "negatives": [f"n{n}" for n in range(30)], "scores": [float(n) for n in range(31)]}
    path = write(tmp_path / "a.jsonl", [many, many])
    first, again, other = (
        prepare(config(path, seed=seed, data={"limit": 1}), tmp_path / f"data-{name}").to_list()
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first == again != other
    (row,) = first
    assert len(row["documents"]) == 9
    assert [float(text[1:]) + 1 for text in row["documents"][1:]] == row["scores"][1:]


def test_prepared_data_are_used_again_until_something_changes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [ROW])
    prepare(config(path), tmp_path / "data")
    written = (tmp_path / "data" / "examples.arrow").stat().st_mtime_ns
    time.sleep(0.01)
    prepare(config(path), tmp_path / "data")
    assert (tmp_path / "data" / "examples.arrow").stat().st_mtime_ns == written
    assert len(prepare(config(write(path, [ROW, ROW])), tmp_path / "data")) == 2
    assert len(prepare(config(path, negatives=1), tmp_path / "data")[0]["documents"]) == 2


@pytest.mark.parametrize("name", ["nothing.jsonl", "a.docx", "a.txt", "empty"])
def test_a_source_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    for file in ("a.docx", "a.txt"):
        (tmp_path / file).write_text("query\tpositive\n", encoding="utf-8")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"does not exist|no known format|neither a BEIR corpus"):
        list(read_rows(str(tmp_path / name)))


def test_broken_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"no parquet")
    with pytest.raises(InputError, match=r"a\.parquet is not a Parquet file"):
        list(read_rows(str(tmp_path / "a.parquet")))
    (tmp_path / "a.jsonl").write_text('{"query": "q"\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"a\.jsonl:1: this line is not valid JSON"):
        list(read_rows(str(tmp_path / "a.jsonl")))
    (tmp_path / "a.jsonl").write_text("[1]\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"a\.jsonl:1: each line must hold a JSON object"):
        list(read_rows(str(tmp_path / "a.jsonl")))


def test_the_collator_flattens_documents_and_marks_missing_ones() -> None:
    encoder = SplareEncoder.from_splare(tiny_model(), device="cpu")
    collator = Collator(
        encoder.preprocess,
        lengths={"query": 6, "document": 12},
        side_prompts={"query": "q: ", "document": "d: "},
    )
    rows = [
        {"query": "a long query", "documents": ["x", "y", "z"], "scores": [1.0, 2.0, 3.0]},
        {"query": "b", "documents": ["v" * 50], "scores": [4.0]},
    ]
    batch = collator(rows)
    assert batch["label"].tolist() == [[1.0, 2.0, 3.0], [4.0, -math.inf, -math.inf]]
    assert batch["query_input_ids"].shape == (2, 6)
    assert batch["document_input_ids"].shape == (4, 12)
    assert batch["document_keep"].sum(1).tolist() == [1, 1, 1, 7]  # the prompt and two special tokens are not kept
