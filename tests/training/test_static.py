"""Static query encoders: trained, written, used by ``splare search`` without torch; and what cannot be trained."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from scipy.sparse import csr_array

from splare_plugins import SplareModel
from splare_plugins.errors import InputError, SplareError
from splare_plugins.model.builtin import BUILTIN_MODEL
from splare_plugins.model.queries import load_static_queries
from splare_plugins.static import StaticQueryEncoder, load_static
from splare_plugins.training.config_parts import TeacherSettings
from splare_plugins.training.static.ranking import Candidates, divergence, largest, ranking_scores
from splare_plugins.training.static.run import train_static
from splare_plugins.training.static.settings import StaticSettings
from splare_plugins.training.static.start import states_alone
from tests.cli.conftest import splare  # noqa: F401
from tests.tiny import TEXTS, save_tiny_model

SHAPES = ((4, 20), (4, 20), (6, 20))
WORDS = ["fox", "river", "bread", "stone", "Haus", "Fluss", "搜索", "文档"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("static") / "tiny")


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("texts") / "texts.jsonl"
    pairs = [f"{one} {other}" for one in WORDS for other in WORDS]
    path.write_text("".join(json.dumps({"id": str(n), "text": text}) + "\n" for n, text in enumerate(pairs)))
    return str(path)


def options(folder: Path, source: str, output: Path, **changed: object) -> StaticSettings:
    values = {
        "model": str(folder),
        "texts": (source,),
        "output": str(output),
        "latents": 60,
        "batch": 16,
        "epochs": 20,
    }
    return StaticSettings(**{**values, **changed})


def cosines(model: Path, folder: Path) -> np.ndarray:
    """Of the vectors of both encoders."""
    full = SplareModel.load(model, device="cpu")
    asked = [f"{one} {other}" for one in WORDS[:4] for other in WORDS[4:]]
    one = full.encode_queries(asked, top_k=None).toarray()
    other = load_static(folder, full.config).encode_queries(asked, top_k=None).toarray()
    return (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)


def test_the_built_in_models_table_was_trained_with_the_settings_that_are_shown() -> None:
    folder = Path(__file__).parents[2] / "examples" / "small_model"
    shown = asdict(StaticSettings.from_yaml(folder / "static.yaml"))
    shown |= {each: [Path(source).name for source in shown[each]] for each in ("texts", "documents", "word_lists")}
    table = load_static_queries(BUILTIN_MODEL)
    card = json.loads((table.folder / "static.json").read_text())
    assert card["settings"] == shown
    assert len(table.table) == card["tokens"] == len(table.tokenizer) > card["settings"]["words"]


def test_a_token_alone_is_encoded_as_a_query_of_it(model: Path) -> None:
    loaded = SplareModel.load(model, device="cpu")
    alone = states_alone(loaded, [(token,) for token in range(len(loaded.backbone.tokenizer))])
    (token,) = loaded.backbone.tokenize(["x"], loaded.config.query.prompt, 128)
    states, _ = loaded.backbone([token])
    torch.testing.assert_close(alone[token.ids[token.keep][0]], states[token.keep][0].float())


@pytest.mark.slow
def test_training_brings_the_table_near_the_full_encoder(model: Path, texts: str, tmp_path: Path) -> None:
    train_static(options(model, texts, tmp_path / "start", epochs=0), device="cpu")
    train_static(options(model, texts, tmp_path / "trained", work=str(tmp_path / "kept")), device="cpu")
    train_static(options(model, texts, tmp_path / "again"), device="cpu")
    before, after = cosines(model, tmp_path / "start").mean(), cosines(model, tmp_path / "trained").mean()
    assert after > before + 0.05
    table = "table.safetensors"
    assert (tmp_path / "trained" / table).read_bytes() == (tmp_path / "again" / table).read_bytes()
    card = json.loads((tmp_path / "trained" / "static.json").read_text())
    assert (card["trained"]["texts"], card["trained"]["steps"]) == (64, 80)
    assert str(tmp_path) not in json.dumps(card) and card["settings"]["texts"] == ["texts.jsonl"]


def test_the_best_documents_of_each_text_are_candidates() -> None:
    generator = np.random.default_rng(0)
    targets, documents = (csr_array(generator.random(shape).astype(np.float32)) for shape in ((40, 30), (50, 30)))
    candidates = Candidates.documents(targets, documents, mined=2, others=1, top_k=5)
    largest_of = np.sort(np.argsort(-targets.toarray(), axis=1)[:, :5], axis=1)
    for text in range(40):
        columns = largest_of[text]
        scores = targets.toarray()[text, columns] @ documents.toarray()[:, columns].T
        numbers, vectors = candidates.draw(np.array([text]), generator)
        drawn = vectors.numpy()
        length = np.linalg.norm(documents.toarray(), axis=1).mean()
        np.testing.assert_allclose(drawn * length, documents.toarray()[numbers], rtol=1e-5)
        best = documents.toarray()[np.argsort(-scores)[:2]] / length
        assert 2 <= len(drawn) <= 3
        assert all(np.isclose(drawn, row, atol=1e-6).all(1).any() for row in best)


def test_the_divergence_is_that_of_the_pruned_vectors() -> None:
    generator = torch.Generator().manual_seed(0)
    made, wanted, candidates = (torch.rand(shape, generator=generator) for shape in SHAPES)

    def apart(one: torch.Tensor, other: torch.Tensor, top_k: int | None = 3) -> float:
        scores = (ranking_scores(each, candidates, scale=5.0, top_k=top_k) for each in (one, other))
        return divergence(*scores).item()

    assert apart(wanted, wanted) == 0 < apart(made, wanted)
    # What is cut from both takes no part.
    changed = wanted.where(wanted >= wanted.topk(3, dim=1).values[:, -1:], 0)
    assert apart(changed, wanted) == 0 < apart(changed, wanted, None)
    assert (largest(made, 3) > 0).sum(1).tolist() == [3] * len(made) and largest(made, None) is made


@pytest.mark.slow
def test_documents_are_ranked_in_training(model: Path, texts: str, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(json.dumps({"id": f"d{n}", "text": text}) + "\n" for n, text in enumerate(TEXTS)))
    ranked = {"documents": (str(corpus),), "mined": 2, "others": 3, "top_k": 40, "ranking": 1.0}
    changed = {**ranked, "flops": 1e-3, "work": str(tmp_path / "work")}
    train_static(options(model, texts, tmp_path / "trained", **changed), device="cpu")
    train_static(options(model, texts, tmp_path / "plain", ranking=0), device="cpu")
    full = SplareModel.load(model, device="cpu")
    documents = torch.from_numpy(full.encode_documents(TEXTS).toarray())
    asked = [f"{one} {other}" for one in WORDS[:4] for other in WORDS[4:]]

    def ranked_by(encoder: SplareModel | StaticQueryEncoder) -> torch.Tensor:
        weights = torch.from_numpy(encoder.encode_queries(asked, top_k=None).toarray())
        return ranking_scores(weights, documents, scale=20, top_k=40)

    tables = {name: load_static(tmp_path / name) for name in ("trained", "plain")}
    apart = {name: divergence(ranked_by(table), ranked_by(full)).item() for name, table in tables.items()}
    assert apart["trained"] < apart["plain"]
    with pytest.raises(InputError, match="fewer than the 99 mined for each text"):
        train_static(options(model, texts, tmp_path / "out", **{**changed, "mined": 99}), device="cpu")


def test_what_cannot_be_trained(model: Path, texts: str, tmp_path: Path) -> None:
    topk = save_tiny_model(tmp_path / "topk", k=8)
    for changed, message in (
        ({"model": str(topk)}, "splare calibrate --standardise makes"),
        ({"batch": 65}, "64 texts have a vector, fewer than a batch of 65; give more texts"),
    ):
        with pytest.raises(InputError, match=message):
            train_static(options(model, texts, tmp_path / "out", **changed), device="cpu")
        assert not (tmp_path / "out").exists()
    for changed, message in (
        ({"texts": ()}, "texts must name"),
        ({"latents": 0}, "latents must be"),
        ({"epochs": -1}, "epochs must be"),
        ({"words": -1}, "words must be"),
        ({"flops": -0.1}, "flops must be"),
        ({"teaching": -0.1}, "teaching must be"),
        ({"teachers": {"one": TeacherSettings(vectors="one")}}, "teachers rank documents; name the corpora"),
        ({"mined": 0}, "mined must be"),
        ({"limit": 3}, "limit must be at least a batch of 16"),
    ):
        with pytest.raises(InputError, match=message):
            options(model, texts, tmp_path / "out", **changed)
    with pytest.raises(SplareError, match="step 1: the loss is nan; lower learning_rate"):
        train_static(options(model, texts, tmp_path / "out", scale=float("nan")), device="cpu")


def test_the_program_trains_and_searches_with_it(splare, model: Path, texts: str, tmp_path: Path) -> None:  # noqa: F811
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(json.dumps({"id": f"d{n}", "text": text}) + "\n" for n, text in enumerate(TEXTS)))
    index, run = tmp_path / "index", tmp_path / "run.trec"
    assert splare("index", "memory", corpus, "-o", index, "-M", model).status == 0
    missing = splare("search", index, texts, "-o", run, "--query-encoder", "static")
    assert (missing.status, "has no static query encoder" in missing.err) == (2, True)
    config = tmp_path / "static.yaml"
    values = {"model": str(model), "texts": [texts], "output": str(model / "static"), "batch": 16, "epochs": 1}
    config.write_text(yaml.safe_dump(values))
    facts = splare("train", "static", config, "--json").facts
    assert (facts["model"], facts["tokens"]) == ("tiny", 260)
    assert splare("train", "static", config).status == 2  # it is there
    searched = splare("search", index, texts, "-o", run, "--query-encoder", "static", "--json")
    assert searched.status == 0, searched.err
    loaded = SplareModel.load(model, device="cpu")
    table = load_static(model / "static", loaded.config)
    documents = loaded.quantizer.documents(loaded.encode_documents(TEXTS)).impacts
    best = (table.quantizer.queries(table.encode_queries(["fox fox"])).impacts @ documents.T).toarray()[0]
    rows = [line.split() for line in run.read_text().splitlines() if line.startswith("0 ")]
    assert {row[2]: int(float(row[4])) for row in rows} == {f"d{n}": score for n, score in enumerate(best) if score}
    other = splare("search", index, texts, "-o", run, "--query-encoder", tmp_path / "nowhere")
    assert (other.status, "--query-encoder full" in other.err) == (2, True)


def test_a_search_with_it_imports_neither_torch_nor_transformers(model: Path, texts: str, tmp_path: Path) -> None:
    if not (model / "static").exists():
        train_static(options(model, texts, model / "static", epochs=0), device="cpu")
    code = """
import sys
from splare_plugins.config import SplareConfig
from splare_plugins.retrieval.indexing import query_impacts
from splare_plugins.model.builtin import BUILTIN_MODEL
from splare_plugins.model.queries import load_static_queries
from splare_plugins.static import load_static
from pathlib import Path
folder = Path(sys.argv[1])
encoder = load_static(folder / "static")
heavy = [name for name in ("torch", "transformers") if name in sys.modules]
print(query_impacts(encoder, [("q", "a fox")]).nnz > 0, heavy)
"""
    done = subprocess.run([sys.executable, "-c", code, str(model)], capture_output=True, text=True, check=True)
    assert done.stdout.split(maxsplit=1) == ["True", "[]\n"]


def test_a_second_run_finds_what_the_first_one_made(model: Path, texts: str, tmp_path: Path) -> None:
    told: list[str] = []

    def steps(what: str, _: int):
        return lambda _: told.append(what)

    changed = {"epochs": 1, "work": str(tmp_path / "work"), "bfloat16": True}
    for name in ("one", "two"):
        told.clear()
        train_static(options(model, texts, tmp_path / name, **changed), device="cpu", steps=steps)
    assert set(told) == {"the table is trained", "tokens become rows"}
    tables = [load_static(tmp_path / name).fingerprint for name in ("one", "two")]
    assert tables[0] == tables[1]
    train_static(options(model, texts, tmp_path / "three", epochs=1, bfloat16=True), device="cpu")
    assert load_static(tmp_path / "three").fingerprint == tables[0]
