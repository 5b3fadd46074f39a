"""What the built-in model is trained on: parallel texts from their files to rows and teachers' vectors."""

from __future__ import annotations

import gzip
import json
import random
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

from splare_plugins.backbone.adapter import apply_adapter
from splare_plugins.training.sources import read_rows
from splare_plugins.training.teachers import TeacherVectors
from tests.cli.conftest import DATA

FOLDER = DATA.parent / "small_model"
LONG = {
    "en": "A calendar that keeps appointments, tasks and journals in files that other programs can read too. "
    "It reminds of what is due.",
    "de": "Ein Kalender, der Termine und Aufgaben in Dateien ablegt, die auch andere Programme lesen.",
}


def script(name: str) -> ModuleType:
    sys.path.insert(0, str(FOLDER))
    try:
        return import_module(name)
    finally:
        sys.path.remove(str(FOLDER))


def translation(folder: Path, language: str, short: str) -> Path:
    """Two entries as Debian writes them; only the first is long enough."""
    path = folder / f"Translation-{language}"
    entries = [("cal", "aa11", short, LONG[language]), ("tiny", "bb22", "tiny", "Too short.")]
    path.write_text(
        "\n\n".join(
            f"Package: {name}\nDescription-md5: {key}\nDescription-{language}: {line}\n {text}\n .\n End."
            for name, key, line, text in entries
        ),
        encoding="utf-8",
    )
    return path


def test_translations_are_joined_by_what_they_translate(tmp_path: Path) -> None:
    pool = script("pool")
    files = translation(tmp_path, "en", "a calendar"), translation(tmp_path, "de", "ein Kalender")
    english = "a calendar", f"{LONG['en']} End."
    expected = {("ein Kalender", english[1]), ("a calendar", f"{LONG['de']} End.")}
    made = [row for seed in range(20) for row in pool.translated(*files, random.Random(seed))]
    assert {(row["query"], row["positive"]) for row in made} == expected
    assert {(row["english_query"], row["english_positive"]) for row in made} == {english}


def test_with_originals_every_teacher_reads_english_alone(tmp_path: Path) -> None:
    prepare = script("prepare")
    words = ["fox", "stone", "river", "cloud", "maple", "candle", "wheel", "harbour"]
    pairs = [(f"Frage {word[::-1]}", f"passage on a {word}", f"a question, {word}") for word in words]
    rows = [{"query": q, "positive": p, "english_query": e, "english_positive": p} for q, p, e in pairs]
    (tmp_path / "pool").mkdir()
    with gzip.open(tmp_path / "pool" / "sentences.jsonl.gz", "wt", encoding="utf-8") as stream:
        stream.writelines(json.dumps(row) + "\n" for row in rows)
    read: list[str] = []

    def teacher(texts, _progress):
        read.extend(texts["query"])
        return {side: np.eye(8, dtype=np.float16)[: len(each)] for side, each in texts.items()}

    prepare.prepare(tmp_path / "pool", tmp_path / "out", bi_encoder=teacher, dense=teacher, originals=True)
    assert set(read) == {row["english_query"] for row in rows}
    for name in ("english", "bm25", "dense"):
        vectors = TeacherVectors.load(tmp_path / "out" / "teachers" / f"{name}.safetensors")
        table = vectors.scores([row["query"] for row in rows], [row["positive"] for row in rows])
        assert (table.argmax(1) == np.arange(8)).all(), name
    written = [row for _, row, _ in read_rows(str(tmp_path / "out" / "rows" / "sentences.jsonl"))]
    assert [row["query"] for row in written] == [row["query"] for row in rows]
    assert all(row["positive"] not in row["negatives"] and row["negatives"] for row in written)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["--translations", "x"], "--translations go with"),
        (["--translations", "x", "--parallel"], "--translations go with"),
        (["--asking", "ar"], "--asking goes with"),
        (["--parallel"], "has no ntrex"),
    ],
)
def test_what_a_pool_needs_is_named(
    given: list[str],
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if given != ["--parallel"]:
        (tmp_path / "ntrex").mkdir()
        (tmp_path / "ntrex" / "parallel.jsonl.gz").touch()
    monkeypatch.setattr(sys, "argv", ["pool.py", str(tmp_path), "-o", str(tmp_path / "pool"), *given])
    with pytest.raises(SystemExit):
        script("pool").main()
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "pool").exists()


def test_the_adapter_that_ships_holds_the_changes_of_all_stages(tmp_path: Path) -> None:
    ship = script("ship")
    torch.manual_seed(0)
    sizes = {"vocab_size": 50, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 48}
    models = [BertModel(BertConfig(**sizes, num_hidden_layers=2), add_pooling_layer=False) for _ in range(2)]
    base, trained = models
    trained.load_state_dict(base.state_dict())
    for stage, layers in ((3, [1]), (5, [0, 1])):  # rank, and the layers that it adapts
        for number in layers:
            for name in ("attention.self.query", "output.dense"):
                weight = trained.encoder.layer[number].get_submodule(name).weight
                weight.data += 0.1 * torch.randn(len(weight), stage) @ torch.randn(stage, weight.shape[1])
    ship.write_adapter(tmp_path / "adapter", base, trained)
    factors = ship.changes(base, trained)
    ranks = {module: len(down) for module, (down, _) in factors.items()}
    assert ranks == {
        f"encoder.layer.{number}.{name}": rank
        for number, rank in ((0, 5), (1, 8))
        for name in ("attention.self.query", "output.dense")
    }
    merged = apply_adapter(base, tmp_path / "adapter", None)
    for (name, weight), other in zip(merged.named_parameters(), trained.parameters(), strict=True):
        torch.testing.assert_close(weight, other, rtol=1e-3, atol=2e-3, msg=name)


@pytest.mark.parametrize(("asking", "expected"), [(["ar"], {"ar"}), (["ru", "zh"], {"ru", "zh"})])
def test_questions_are_in_the_languages_asked_for(asking: list[str], expected: set[str], tmp_path: Path) -> None:
    pool = script("pool")
    languages = ("en", *pool.COMMON, *pool.LANGUAGES)
    file = tmp_path / "parallel.jsonl.gz"
    with gzip.open(file, "wt", encoding="utf-8") as stream:
        rows = ({language: f"{language} sentence {number}" for language in languages} for number in range(12))
        stream.writelines(json.dumps(row) + "\n" for row in rows)
    found = list(pool.parallel(file, random.Random(0), turns=4, asking=asking, rarely=()))
    assert {row["query"][:2] for row in found} == expected
    assert all(row["english_query"] == f"en{row['query'][2:]}" for row in found)
