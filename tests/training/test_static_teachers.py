"""Teachers of a static query encoder: what they score, and what a table learns from them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from splare_plugins.config import SIDES
from splare_plugins.errors import InputError
from splare_plugins.model.dense import dense_vectors
from splare_plugins.model.splare import SplareModel
from splare_plugins.static import load_static
from splare_plugins.training.config_parts import TeacherSettings
from splare_plugins.training.data.embed import bm25_embedder, embed_texts
from splare_plugins.training.data.teachers import TeacherVectors, text_key
from splare_plugins.training.static.ranking import divergence, ranking_scores
from splare_plugins.training.static.run import train_static
from splare_plugins.training.static.settings import StaticSettings
from splare_plugins.training.static.teaching import Teaching
from tests.cli.conftest import splare  # noqa: F401
from tests.tiny import TEXTS, save_tiny_model

QUERIES = ["a fox", "der Fuchs", "a dog", "stone"]
DOCUMENTS = ["foxes run", "dogs", "stones", "bread", "rivers"]
SOURCES = ("--texts", "t", "--documents", "d")
WORDS = ["fox", "river", "bread", "stone", "Haus", "Fluss"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("taught") / "tiny")


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return jsonl(tmp_path_factory.mktemp("texts") / "texts.jsonl", [f"{a} {b}" for a in WORDS for b in WORDS])


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return jsonl(tmp_path_factory.mktemp("corpus") / "corpus.jsonl", TEXTS)


def jsonl(path: Path, texts: list[str]) -> Path:
    path.write_text("".join(json.dumps({"id": str(n), "text": text}) + "\n" for n, text in enumerate(texts)))
    return path


def dense(queries: list[str], documents: list[str], vectors: dict[str, np.ndarray]) -> TeacherVectors:
    keys = (np.array([text_key(text) for text in texts]) for texts in (queries, documents))
    return TeacherVectors(dict(zip(SIDES, keys, strict=True)), vectors, name="dense")


@pytest.fixture
def both(tmp_path: Path) -> tuple[dict[str, TeacherSettings], np.ndarray]:
    """BM25 that knows two of the queries, a dense teacher that knows three; and the sums of what they say."""
    english = embed_texts({"query": ["a fox", "a dog"], "document": DOCUMENTS}, bm25_embedder("en"), name="english")
    drawn = np.random.default_rng(0).random((8, 4)).astype(np.float32)
    other = dense(QUERIES[:3], DOCUMENTS, {"query": drawn[:3], "document": drawn[3:]})
    given = {}
    for name, teacher, scale in (("english", english, 2.0), ("dense", other, 3.0)):
        teacher.save(tmp_path / name)
        given[name] = TeacherSettings(vectors=str(tmp_path / name), scale=scale)
    sums = np.zeros((4, 5), dtype=np.float32)
    sums[:3] += 3 * other.scores(QUERIES[:3], DOCUMENTS)
    sums[[0, 2]] += 2 * english.scores(["a fox", "a dog"], DOCUMENTS)
    return given, sums


def test_teachers_score_the_texts_that_they_know(both: tuple[dict[str, TeacherSettings], np.ndarray]) -> None:
    given, sums = both
    teaching = Teaching(given, QUERIES, DOCUMENTS, sources=SOURCES)
    assert teaching.taught == 3
    texts, ranked = np.array([3, 2, 0, 1]), np.array([4, 0, 1])
    np.testing.assert_allclose(teaching.scores(texts, ranked), sums[texts][:, ranked], rtol=1e-5)


def test_a_text_that_no_teacher_knows_changes_nothing_but_the_mean(
    both: tuple[dict[str, TeacherSettings], np.ndarray],
) -> None:
    given, sums = both
    teaching = Teaching(given, QUERIES, DOCUMENTS, sources=SOURCES)
    made = torch.rand((4, 5), generator=torch.Generator().manual_seed(0))
    apart = teaching.divergence(made, np.arange(4), np.arange(5))
    torch.testing.assert_close(apart, divergence(made[:3], torch.from_numpy(sums[:3])) * 3 / 4)
    assert teaching.divergence(made[:1], np.array([3]), np.arange(5)) == 0


def test_vectors_of_other_texts_are_refused(both: tuple[dict[str, TeacherSettings], np.ndarray]) -> None:
    given, _ = both
    way_out = "remove it and make it from those of this run: splare train embed --texts t --documents d --teacher"
    with pytest.raises(InputError, match=f"lacks vectors of any of the texts; {way_out}"):
        Teaching(given, ["new"], DOCUMENTS, sources=SOURCES)
    with pytest.raises(InputError, match=f"lacks vectors of 1 of the 6 documents; {way_out}"):
        Teaching(given, QUERIES, [*DOCUMENTS, "new"], sources=SOURCES)
    missing = {"gone": TeacherSettings(vectors="gone.safetensors")}
    with pytest.raises(InputError, match="make them: splare train embed --texts t --documents d --teacher TEACHER -o"):
        Teaching(missing, QUERIES, DOCUMENTS, sources=SOURCES)


def test_unpaired_texts_and_documents_are_embedded(splare, model: Path, texts: Path, corpus: Path, tmp_path: Path):  # noqa: F811
    output = tmp_path / "dense.safetensors"
    sources = ("--texts", texts, "--documents", corpus, "--documents", corpus)
    made = splare("train", "embed", *sources, "-t", f"dense:{model}", "-o", output, "--json")
    assert made.status == 0, made.err
    assert (made.facts["queries"], made.facts["documents"]) == (len(WORDS) ** 2, len(TEXTS))
    loaded = SplareModel.load(model, device="cpu")
    expected = dense_vectors(loaded, ["fox stone"], "query") @ dense_vectors(loaded, TEXTS, "document").T
    np.testing.assert_allclose(TeacherVectors.load(output).scores(["fox stone"], TEXTS), expected, atol=2e-3)
    for given in ((), ("--texts", texts), ("--documents", corpus)):
        refused = splare("train", "embed", *given, "-t", "bm25", "-o", tmp_path / "other")
        assert (refused.status, "--texts together with --documents" in refused.err) == (2, True)
    refused = splare("train", "embed", *sources, "-t", "bm25", "-o", tmp_path / "other", "--columns", "query,positive")
    assert (refused.status, "--columns is for rows of training data" in refused.err) == (2, True)


@pytest.mark.slow
def test_a_table_learns_what_its_teacher_prefers(model: Path, texts: Path, corpus: Path, tmp_path: Path) -> None:
    """The teacher likes one document best, whatever is asked."""
    asked = [f"{a} {b}" for a in WORDS for b in WORDS]
    liked = np.eye(len(TEXTS), 1, dtype=np.float32)
    teacher = tmp_path / "one.safetensors"
    dense(asked, TEXTS, {"query": np.ones((len(asked), 1), np.float32), "document": liked}).save(teacher)
    how = {"model": str(model), "texts": (str(texts),), "documents": (str(corpus),), "mined": 2, "others": 8}
    how |= {"batch": 12, "epochs": 10, "latents": 60, "ranking": 0.0}
    taught = {"one": TeacherSettings(vectors=str(teacher), scale=20.0)}
    train_static(StaticSettings(**how, output=str(tmp_path / "plain")), device="cpu")
    train_static(StaticSettings(**how, teachers=taught, teaching=1.0, output=str(tmp_path / "taught")), device="cpu")
    documents = torch.from_numpy(SplareModel.load(model, device="cpu").encode_documents(TEXTS).toarray())

    def share(name: str) -> float:
        weights = torch.from_numpy(load_static(tmp_path / name).encode_queries(asked, top_k=None).toarray())
        return ranking_scores(weights, documents, scale=20, top_k=None).softmax(1)[:, 0].mean().item()

    assert share("taught") > 1.2 * share("plain")
    card = json.loads((tmp_path / "taught" / "static.json").read_text())
    assert card["settings"]["teachers"] == {"one": {"vectors": "one.safetensors", "scale": 20.0}}
    assert card["trained"]["taught"] == len(asked)
