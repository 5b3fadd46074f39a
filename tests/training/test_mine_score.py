"""Hard negatives from a search, and a teacher's scores."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from transformers import BertConfig, BertModel

from splare_plugins.cli.app import main
from splare_plugins.corpus import read_documents
from splare_plugins.engines.base import Hits
from splare_plugins.errors import InputError
from splare_plugins.model.splare import SplareModel
from splare_plugins.training.data.examples import Example
from splare_plugins.training.data.mine import read_questions, write_negatives
from splare_plugins.training.data.score import load_teacher, score_file
from tests.tiny import CROSS_SIZES, byte_tokenizer, save_tiny_cross_encoder, save_tiny_model
from tests.training.conftest import rows

TEXTS = ["the river", "The  river", "a fox", "a dog", "bread and stone", "the bank of the river"]


def read(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    corpus = [{"_id": f"d{n}", "text": text} for n, text in enumerate(TEXTS)]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in corpus))
    queries = [{"_id": "q1", "text": "river"}, {"_id": "q2", "text": "fox"}]
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in queries))
    (folder / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td0\t1\nq1\td5\t1\nq2\td2\t1\n")
    return folder


def hits(*docids: str) -> Hits:
    return Hits(list(docids), np.arange(len(docids), 0, -1.0))


def test_negatives_are_hits_that_are_no_positive_and_no_copy_of_one(beir: Path, tmp_path: Path) -> None:
    documents = {document.docid: document.content for document in read_documents(str(beir))}
    questions = read_questions(str(beir))
    assert [(each.text, each.positives) for each in questions] == [
        ("river", ["the river", "the bank of the river"]),
        ("fox", ["a fox"]),
    ]
    found = {"0": hits("d1", "d0", "d4", "d5", "d3", "d2"), "1": hits("d2")}
    mined = write_negatives(questions, found, documents, tmp_path / "out.jsonl", negatives=2)
    assert read(tmp_path / "out.jsonl") == [
        {"query": "river", "positive": positive, "negatives": ["bread and stone", "a dog"]}
        for positive in ("the river", "the bank of the river")
    ]
    assert mined == (2, 4, 0, 1)
    write_negatives(questions, found, documents, tmp_path / "skipped.jsonl", negatives=5, skip=1)
    assert read(tmp_path / "skipped.jsonl")[0]["negatives"] == ["a dog", "a fox"]
    chosen = []
    for seed in range(8):
        path = tmp_path / f"random-{seed}.jsonl"
        write_negatives(questions, found, documents, path, negatives=1, pick="random", seed=seed)
        chosen.append(read(path)[0]["negatives"])
    assert len({str(each) for each in chosen}) > 1
    with pytest.raises(InputError, match="found the document 'd9', which is not in the corpus"):
        write_negatives(questions, {"0": hits("d9")}, documents, tmp_path / "bad.jsonl")
    with pytest.raises(InputError, match="no negative was found for any query"):
        write_negatives(questions, {}, documents, tmp_path / "bad.jsonl")
    assert not (tmp_path / "bad.jsonl").exists()


def run(*arguments: str | Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return int(stop.value.code or 0), captured.out, " ".join(captured.err.split())


@pytest.fixture
def index(beir: Path, tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """In memory; it remembers where its model lies."""
    usual = ["-o", tmp_path / "index", "-M", tiny_folder, "--device", "cpu"]
    status, _, error = run("index", "memory", beir, *usual, capsys=capsys)
    assert status == 0, error
    return tmp_path / "index"


def test_the_program_mines_with_an_engine(
    beir: Path, index: Path, tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "mined.jsonl"
    for told in (["--engine", "memory", "-M", tiny_folder], []):  # the index tells its engine and its model
        usual = ["train", "mine", beir, "-o", output, "--index", index, "--device", "cpu", "--json"]
        status, printed, error = run(*usual, *told, capsys=capsys)
        assert status == 0, error
        assert json.loads(printed)["rows"] == 3
        mined = read(output)
        assert [row["positive"] for row in mined] == ["the river", "the bank of the river", "a fox"]
        assert set(mined[0]["negatives"]) == {"a fox", "a dog", "bread and stone"}  # type: ignore[call-overload]
        output.unlink()
    for arguments, message in (
        ([beir, "--engine", "memory"], "--engine memory needs --index"),
        ([beir, "--index", "x", "--engine", "bm25"], "--engine bm25 reads no --index"),
        ([beir, "--index", "x"], "there is no Lucene index at x"),
        ([beir, "-M", tiny_folder], "is for an --index; BM25 ranks by words"),
        ([tmp_path / "queries.jsonl"], "needs --corpus"),
        ([beir, "--index", index, "--language", "de"], "--language de is for BM25; omit it"),
        ([beir, "--seed", "7"], "--seed is of the choice that --random makes"),
    ):
        status, _, error = run("train", "mine", *arguments, "-o", output, capsys=capsys)
        assert (status, message in error) == (2, True), error


def test_mining_with_another_model_than_the_indexs_is_refused_by_both_names(
    beir: Path, index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    usual = ["train", "mine", beir, "-o", tmp_path / "mined.jsonl", "--index", index]
    other = save_tiny_model(tmp_path / "other", seed=3)
    status, _, error = run(*usual, "-M", other, capsys=capsys)
    assert status == 2
    assert "was made with tiny seed-0" in error and f"the model at hand is tiny seed-3 ({other})" in error
    assert not (tmp_path / "mined.jsonl").exists()


def test_an_index_whose_model_is_gone_says_so(beir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = save_tiny_model(tmp_path / "model")
    run("index", "memory", beir, "-o", tmp_path / "index", "-M", model, "--device", "cpu", capsys=capsys)
    model.rename(tmp_path / "moved")
    usual = ["train", "mine", beir, "-o", tmp_path / "mined.jsonl", "--index", tmp_path / "index"]
    status, _, error = run(*usual, capsys=capsys)
    assert (status, f"no longer at {model}; name its place with --model" in error) == (2, True), error
    status, _, error = run(*usual, "-M", tmp_path / "moved", capsys=capsys)
    assert status == 0, error


def test_the_program_mines_for_triples_of_ids(
    index: Path, beir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ids.tsv").write_text("q1\td0\td3\n")
    output = tmp_path / "mined.jsonl"
    stated = ["--columns", "qid,pid,nid", "--queries", beir, "--corpus", beir, "--index", index]
    status, _, error = run("train", "mine", tmp_path / "ids.tsv", "-o", output, *stated, capsys=capsys)
    assert status == 0, error
    (row,) = read(output)
    assert (row["query"], row["positive"]) == ("river", "the river")
    assert "the bank of the river" in row["negatives"]  # type: ignore[operator]


@pytest.mark.java
def test_the_program_mines_with_bm25(beir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "mined.jsonl"
    (beir / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td0\t1\n")
    status, _, error = run("train", "mine", beir, "-o", output, capsys=capsys)
    assert status == 0, error
    assert read(output) == [{"query": "river", "positive": "the river", "negatives": ["the bank of the river"]}]


@pytest.fixture(scope="module")
def cross(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_cross_encoder(tmp_path_factory.mktemp("cross"))


@pytest.fixture(scope="module")
def bi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bi")
    torch.manual_seed(0)
    BertModel(BertConfig(**CROSS_SIZES)).save_pretrained(folder / "bert")
    byte_tokenizer(64).save_pretrained(folder / "bert")
    transformer = Transformer(str(folder / "bert"))
    prompts = {"query": "q: ", "document": ""}
    SentenceTransformer(modules=[transformer, Pooling(32)], prompts=prompts, device="cpu").save(str(folder / "model"))
    return folder / "model"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows(70)), encoding="utf-8")
    return path


def test_a_cross_encoder_scores_pairs(cross: Path, data: Path, tmp_path: Path) -> None:
    assert score_file(str(data), load_teacher(str(cross), device="cpu"), tmp_path / "out.jsonl", scale=2.0) == 70
    model = CrossEncoder(str(cross), device="cpu")
    for row in (read(tmp_path / "out.jsonl")[0], read(tmp_path / "out.jsonl")[69]):
        texts = [*row["positive"], *row["negatives"]]  # type: ignore[misc]
        wanted = 2 * model.predict([(row["query"], text) for text in texts])
        np.testing.assert_allclose(row["scores"], wanted, rtol=1e-4)


def test_a_bi_encoder_scores_by_vectors_and_teachers_blend(bi: Path, data: Path, tmp_path: Path) -> None:
    teacher = load_teacher(str(bi), device="cpu")
    score_file(str(data), teacher, tmp_path / "plain.jsonl", scale=50.0)
    score_file(str(data), teacher, tmp_path / "sum.jsonl", scale=50.0, add=True)
    model = SentenceTransformer(str(bi), device="cpu")
    row, blended, before = read(tmp_path / "plain.jsonl")[5], read(tmp_path / "sum.jsonl")[5], rows(6)[5]
    texts = [before["positive"], *before["negatives"]]
    cosines = model.similarity(model.encode(f"q: {before['query']}"), model.encode(texts))[0]
    np.testing.assert_allclose(row["scores"], 50 * cosines, rtol=1e-4)
    np.testing.assert_allclose(blended["scores"], np.add(before["scores"], row["scores"]), rtol=1e-5)  # type: ignore[arg-type]
    prompted = load_teacher(str(bi), device="cpu", query_prompt="other: ")
    score_file(str(data), prompted, tmp_path / "prompted.jsonl")
    assert not np.allclose(np.multiply(read(tmp_path / "prompted.jsonl")[5]["scores"], 50), row["scores"])  # type: ignore[arg-type]


def test_scoring_goes_on_where_it_was_interrupted(cross: Path, data: Path, tmp_path: Path) -> None:
    teacher = load_teacher(str(cross), device="cpu")
    seen: list[int] = []

    def dies(examples: list[Example]) -> list[list[float]]:
        seen.append(len(examples))
        if len(seen) == 2:
            raise KeyboardInterrupt
        return teacher(examples)

    with pytest.raises(KeyboardInterrupt):
        score_file(str(data), dies, tmp_path / "out.jsonl", identity="a")
    (part,) = tmp_path.glob("*.part")
    with part.open("a") as stream:
        stream.write('{"query": "half a li')
    counted: list[int] = []
    score_file(str(data), dies, tmp_path / "out.jsonl", identity="a", on_progress=counted.append)
    assert seen == [64, 6, 6] and counted == [64, 6]
    score_file(str(data), teacher, tmp_path / "whole.jsonl", identity="b")
    ours, theirs = read(tmp_path / "out.jsonl"), read(tmp_path / "whole.jsonl")
    assert [row["query"] for row in ours] == [row["query"] for row in theirs]
    np.testing.assert_allclose([row["scores"] for row in ours], [row["scores"] for row in theirs], rtol=1e-4)  # type: ignore[arg-type]
    assert not list(tmp_path.glob("*.part"))
    with pytest.raises(InputError, match="exists; choose another file"):
        score_file(str(data), teacher, tmp_path / "out.jsonl")


def test_teachers_and_data_that_cannot_score_are_refused(
    cross: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "nothing").mkdir()
    with pytest.raises(InputError, match="neither a cross-encoder nor a bi-encoder"):
        load_teacher(str(tmp_path / "nothing"))
    save_tiny_cross_encoder(tmp_path / "three", outputs=3)
    with pytest.raises(InputError, match="must have one output that is a finite number"):
        score_file(str(data), load_teacher(str(tmp_path / "three"), device="cpu"), tmp_path / "out.jsonl")
    unscored = tmp_path / "unscored.jsonl"
    unscored.write_text(json.dumps({"query": "q", "positive": "p", "negatives": ["n"]}) + "\n")
    status, _, error = run(
        "train", "score", unscored, cross, "-o", tmp_path / "sum.jsonl", "--add", "--device", "cpu", capsys=capsys
    )
    assert (status, "no teacher scores" in error) == (2, True), error
    status, _, error = run(
        "train", "score", unscored, cross, "-o", tmp_path / "new.jsonl", "--device", "cpu", capsys=capsys
    )
    assert status == 0, error
    assert len(read(tmp_path / "new.jsonl")[0]["scores"]) == 2  # type: ignore[arg-type]


def test_the_program_names_mistakes_in_a_config(
    settings: Callable[..., dict[str, object]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps(settings(learning_rat=1.0)))
    status, _, error = run("train", path, capsys=capsys)
    assert (status, "did you mean 'learning_rate'" in error) == (2, True)
    path.write_text(json.dumps(settings(steps=2)))
    status, printed, error = run("train", path, "--json", capsys=capsys)
    assert status == 0, error
    facts = json.loads(printed)
    size = sum(path.stat().st_size for path in (tmp_path / "run" / "model" / "backbone").iterdir())
    assert (facts["steps"], facts["backbone"], facts["backbone_bytes"]) == (2, "backbone", size)
    status, _, error = run("train", path, capsys=capsys)
    assert (status, "is trained already" in error) == (2, True)
    merged = ["train", "merge", tmp_path / "run" / "model", "-o", tmp_path / "merged", "--json"]
    status, printed, error = run(*merged, capsys=capsys)
    assert status == 0, error
    SplareModel.from_pretrained(tmp_path / "merged", device="cpu")
    status, _, error = run("train", "average", tmp_path / "run" / "model", "-o", tmp_path / "mean", capsys=capsys)
    assert (status, "two models at least" in error) == (2, True)
