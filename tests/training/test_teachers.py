"""Teachers that are vectors: what they score, how their files are made, and training on all documents of a batch."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bm25s
import numpy as np
import pytest
import Stemmer
import torch
from scipy.sparse import csr_array
from typer.testing import CliRunner

from splare_plugins.cli.app import app
from splare_plugins.errors import InputError
from splare_plugins.model.dense import dense_vectors
from splare_plugins.model.splare import SplareModel
from splare_plugins.training.config import TrainingConfig
from splare_plugins.training.data.embed import (
    bm25_embedder,
    embed_file,
    embed_texts,
    load_embedder,
    read_originals,
    read_texts,
)
from splare_plugins.training.data.score import load_teacher
from splare_plugins.training.data.teachers import Teachers, TeacherVectors, text_key
from splare_plugins.training.run import train
from splare_plugins.training.student import load_student
from splare_plugins.training.trainer import EpochBatches
from tests.training.conftest import Settings, rows
from tests.training.test_run import log, vectors

QUERIES, DOCUMENTS = ["red fox", "a dog", ""], ["the foxes run", "dogs and a fox", "", "stone"]


def random_teacher(queries: list[str], documents: list[str], *, sparse: bool = False) -> TeacherVectors:
    generator = np.random.default_rng(len(queries))
    drawn = [generator.normal(size=(len(texts), 8)).astype(np.float16) for texts in (queries, documents)]
    if sparse:
        drawn = [csr_array(np.where(each > 0, each, 0).astype(np.float32)) for each in drawn]
    keys = [np.array([text_key(text) for text in texts]) for texts in (queries, documents)]
    sides = ("query", "document")
    return TeacherVectors(dict(zip(sides, keys, strict=True)), dict(zip(sides, drawn, strict=True)), name="t")


def test_documents_without_words_have_no_bm25() -> None:
    with pytest.raises(InputError, match=r"none of the 2 documents has a word .*; choose a bi-encoder"):
        embed_texts({"query": ["q"], "document": ["a", "the"]}, bm25_embedder("en"), name="bm25")
    kept = embed_texts({"query": ["fox"], "document": ["a", "fox"]}, bm25_embedder("en"), name="bm25")
    assert kept.scores(["fox"], ["a", "fox"])[0, 0] == 0 < kept.scores(["fox"], ["a", "fox"])[0, 1]


@pytest.mark.parametrize("sparse", [False, True])
def test_scores_are_dot_products_in_the_order_asked_for(tmp_path: Path, sparse: bool) -> None:
    teacher = random_teacher(QUERIES, DOCUMENTS, sparse=sparse)
    whole = teacher.scores(QUERIES, DOCUMENTS)
    assert whole.dtype == np.float32
    assert whole.shape == (3, 4)
    teacher.save(tmp_path / "t.safetensors")
    again = TeacherVectors.load(tmp_path / "t.safetensors")
    some = again.scores([QUERIES[2], QUERIES[0], QUERIES[0]], DOCUMENTS[::-1])
    np.testing.assert_array_equal(some, whole[[2, 0, 0]][:, ::-1])


def test_teachers_are_added_with_their_weights() -> None:
    one, other = random_teacher(QUERIES, DOCUMENTS), random_teacher(QUERIES, DOCUMENTS, sparse=True)
    both = Teachers([(20.0, one), (0.5, other)])(QUERIES, DOCUMENTS)
    expected = 20 * one.scores(QUERIES, DOCUMENTS) + 0.5 * other.scores(QUERIES, DOCUMENTS)
    np.testing.assert_allclose(both, expected, rtol=1e-6)


def test_a_text_without_a_vector_is_named() -> None:
    with pytest.raises(InputError, match="no vector of the document 'new'; make its vectors from all data"):
        random_teacher(QUERIES, DOCUMENTS).scores(QUERIES, ["stone", "new"])
    with pytest.raises(InputError, match="no vector of the query 'x'"):
        random_teacher([], []).scores(["x"], [])


@pytest.mark.parametrize("content", [None, b"something else"])
def test_a_file_that_holds_no_vectors(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "x.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"holds no teacher's vectors .*: splare train embed DATA"):
        TeacherVectors.load(path)


def test_bm25_scores_are_those_of_bm25s() -> None:
    texts = [row["positive"] for row in rows(16)] + ["the foxes and the dogs", "foxes"]
    asked = ["fox and dogs", "the bread", "unknown words", ""]
    made = bm25_embedder("english")({"query": asked, "document": texts}, None)
    scores = (made["query"] @ made["document"].T).toarray()
    options: dict[str, Any] = {
        "stopwords": "english",
        "stemmer": Stemmer.Stemmer("english"),
        "show_progress": False,
        "return_ids": False,
    }
    index = bm25s.BM25(k1=0.9, b=0.4, method="lucene")
    index.index(bm25s.tokenize(texts, **options), show_progress=False)
    for query, row in zip(bm25s.tokenize(asked, **options), scores, strict=True):
        expected = index.get_scores(query) if query else np.zeros(len(texts))
        np.testing.assert_allclose(row, expected, rtol=1e-5, atol=1e-6)
    assert scores[0].max() > 0


def test_embedding_reads_every_text_once_and_refuses_to_overwrite(examples: Path, tmp_path: Path) -> None:
    texts = read_texts([str(examples), str(examples)])
    assert len(texts["query"]) == len({row["query"] for row in rows()})
    output = tmp_path / "bm25.safetensors"
    assert embed_file([str(examples)], bm25_embedder("english"), output) == {
        side: len(each) for side, each in texts.items()
    }
    assert TeacherVectors.load(output).scores(texts["query"], texts["document"]).max() > 0
    with pytest.raises(InputError, match="exists; choose another file"):
        embed_file([str(examples)], bm25_embedder("english"), output)


def test_a_translation_is_read_as_its_original(tmp_path: Path) -> None:
    rows_file, pairs = tmp_path / "rows.jsonl", tmp_path / "pairs.jsonl"
    translations = {"der rote Fuchs": "the red fox", "Füchse jagen": "foxes hunt"}
    made = [
        {"query": "der rote Fuchs", "positive": "Füchse jagen", "negatives": ["a stone"]},
        {"query": "the red fox", "positive": "foxes hunt", "negatives": ["a stone"]},
    ]
    rows_file.write_text("".join(json.dumps(row) + "\n" for row in made))
    pairs.write_text("".join(json.dumps({"text": a, "original": b}) + "\n" for a, b in translations.items()))
    output = tmp_path / "bm25.safetensors"
    command = ["train", "embed", str(rows_file), "-t", "bm25", "-o", str(output), "--originals", str(pairs), "--json"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    documents = ["Füchse jagen", "foxes hunt", "a stone"]
    table = TeacherVectors.load(output).scores(["der rote Fuchs", "the red fox"], documents)
    english = bm25_embedder("english")({"query": ["the red fox"], "document": ["foxes hunt", "a stone"]}, None)
    expected = (english["query"] @ english["document"].T).toarray()[0]
    np.testing.assert_array_equal(table, [expected[[0, 0, 1]]] * 2)
    assert expected[0] > 0 == expected[1]
    with pytest.raises(InputError, match=r"rows\.jsonl.*1 needs the columns text and original"):
        read_originals(str(rows_file))
    with pytest.raises(InputError, match="none of the originals belongs to a text"):
        embed_file([str(rows_file)], bm25_embedder("english"), tmp_path / "other", originals={"else": "other"})


def test_a_model_s_own_backbone_is_a_teacher(base: Path) -> None:
    texts = {"query": ["a fox", "b"], "document": ["a longer text about a fox", "c"]}
    made = load_embedder(f"dense:{base}", device="cpu")(texts, None)
    model = SplareModel.from_pretrained(base, device="cpu")
    for side in ("query", "document"):
        np.testing.assert_allclose(made[side], dense_vectors(model, texts[side], side), atol=1e-3)
        np.testing.assert_allclose(np.linalg.norm(made[side].astype(np.float32), axis=1), 1, atol=1e-3)


def test_teachers_that_cannot_be_had(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no stemmer for 'klingon'"):
        load_embedder("bm25", language="klingon")
    for teacher, options, what in (
        ("bm25", {"max_length": 32}, "a number of tokens"),
        ("bm25", {"dtype": "bfloat16"}, "bfloat16"),
        ("dense:m", {"max_length": 32}, "a number of tokens"),
        ("dense:m", {"language": "en"}, "a language"),
        ("a/bi-encoder", {"language": "en"}, "a language"),
    ):
        with pytest.raises(InputError, match=f"the teacher {teacher} has no use for {what}; omit it"):
            load_embedder(teacher, **options)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="is a cross-encoder, which has no prompts"):
        load_teacher("some/cross-encoder", kind="cross", query_prompt="query: ")
    with pytest.raises(InputError, match="cannot load the teacher"):
        load_embedder(str(tmp_path))


def test_the_command(examples: Path, tmp_path: Path) -> None:
    output = tmp_path / "bm25.safetensors"
    result = CliRunner().invoke(app, ["train", "embed", str(examples), "-t", "bm25", "-o", str(output), "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["documents"] == len(read_texts([str(examples)])["document"])


def test_batches_do_not_mix_groups() -> None:
    batches = EpochBatches([10, 7, 3], batch_size=3, seed=1, first_epoch=0)
    epoch = list(batches)
    assert len(epoch) == len(batches) == 3 + 2 + 1
    groups = [{0 if number < 10 else 1 if number < 17 else 2 for number in batch} for batch in epoch]
    assert all(len(group) == 1 for group in groups)
    numbers = [number for batch in epoch for number in batch]
    assert len(set(numbers)) == len(numbers)
    assert list(EpochBatches([10, 7, 3], batch_size=3, seed=1, first_epoch=0)) == epoch
    assert list(batches) != epoch


def test_several_processes_share_the_steps_of_one() -> None:
    one = list(EpochBatches([17, 9], batch_size=4, seed=1, first_epoch=0))
    two = EpochBatches([17, 9], batch_size=2, seed=1, first_epoch=0, processes=2)
    pairs = list(two)
    assert len(pairs) == len(two) == 2 * len(one)
    assert [first + second for first, second in zip(pairs[::2], pairs[1::2], strict=True)] == one


@pytest.fixture
def taught(settings: Settings, examples: Path, tmp_path: Path) -> Callable[..., TrainingConfig]:
    """Configs with two sources and two teachers."""
    texts = read_texts([str(examples)])
    bm25, other = tmp_path / "bm25.safetensors", tmp_path / "other.safetensors"
    embed_file([str(examples)], bm25_embedder("english"), bm25)
    random_teacher(texts["query"], texts["document"]).save(other)
    second = tmp_path / "second.jsonl"
    second.write_text("".join(json.dumps({**row, "scores": None}) + "\n" for row in rows(20)), encoding="utf-8")

    def make(**options: Any) -> TrainingConfig:
        data = [{"source": str(examples), "teachers": ["bm25"]}, {"source": str(second)}]
        teachers = {"bm25": {"vectors": str(bm25), "scale": 2.0}, "other": {"vectors": str(other)}}
        return TrainingConfig.from_dict(settings(**{"data": data, "teachers": teachers, **options}))

    return make


@pytest.mark.slow
def test_training_on_all_documents_of_a_batch(taught: Callable[..., TrainingConfig], base: Path) -> None:
    config = taught(epochs=6, negatives=1, head="calibration", workers=1)
    outcome = train(config)
    lines = log(config.output)
    assert len(lines) == outcome.steps == 6 * (4 + 2)
    assert np.mean([line["kl"] for line in lines[-6:]]) < 0.9 * np.mean([line["kl"] for line in lines[:6]])
    trained, before = SplareModel.from_pretrained(outcome.folder), SplareModel.from_pretrained(base)
    gains = trained.head.W.norm(dim=1) / before.head.W.norm(dim=1)
    directions = torch.nn.functional.cosine_similarity(trained.head.W, before.head.W, dim=1)
    assert gains.std() > 1e-4
    torch.testing.assert_close(directions, torch.ones_like(directions))
    assert not torch.equal(trained.head.b, before.head.b)


@pytest.mark.slow
def test_a_gain_is_folded_into_what_is_saved(taught: Callable[..., TrainingConfig]) -> None:
    config = taught(steps=4, head="calibration", save_every=4)
    outcome = train(config)
    student = load_student(config, device="cpu")
    assert not torch.equal(
        student.base.head.parametrizations.W.original, SplareModel.from_pretrained(outcome.folder).head.W
    )
    from tests.training.test_run import in_training

    for ours, saved in zip(
        vectors(in_training(config)), vectors(SplareModel.from_pretrained(outcome.folder)), strict=True
    ):
        np.testing.assert_allclose(saved, ours, rtol=1e-5, atol=1e-6)


def test_dropout_is_what_the_config_says(taught: Callable[..., TrainingConfig]) -> None:
    for dropout in (0.0, 0.3):
        parts = load_student(taught(dropout=dropout), device="cpu").base.backbone.model.modules()
        assert {part.p for part in parts if isinstance(part, torch.nn.Dropout)} == {dropout}


@pytest.mark.slow
@pytest.mark.parametrize("head", ["bias", "calibration"])
def test_training_in_bfloat16_does_not_round_the_rows(
    taught: Callable[..., TrainingConfig], base: Path, head: str
) -> None:
    outcome = train(taught(steps=2, head=head, precision="bfloat16"))
    trained, before = SplareModel.from_pretrained(outcome.folder).head.W, SplareModel.from_pretrained(base).head.W
    assert trained.dtype == torch.float32
    gain = (trained * before).sum(1, keepdim=True) / before.square().sum(1, keepdim=True)
    torch.testing.assert_close(trained, gain * before, rtol=1e-5, atol=1e-6)
    assert head == "calibration" or torch.equal(trained, before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": {"contrastive": 1.0}}, "teachers score all documents of a batch for the KL"),
        ({"teachers": {"bm25": {"scale": 1}}}, "the setting 'vectors' is missing"),
        ({"teachers": ["bm25"]}, "teachers must be names with values"),
        ({"dropout": 1.0}, "the setting 'dropout' cannot be 1.0"),
        ({"batch_size": 24}, "there are 20 examples, fewer than batch_size 24"),
    ],
)
def test_settings_that_cannot_be(taught: Callable[..., TrainingConfig], options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        train(taught(**options))


def test_a_teacher_that_is_not_there(taught: Callable[..., TrainingConfig], examples: Path) -> None:
    with pytest.raises(InputError, match=r"names the teacher 'bm26'; there are bm25, other"):
        taught(data=[{"source": str(examples), "teachers": ["bm26"]}])
    with pytest.raises(InputError, match="has no teacher"):
        taught(data=[{"source": str(examples), "teachers": []}])
