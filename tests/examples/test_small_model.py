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


@pytest.mark.parametrize("given", [["--translations", "x"], ["--translations", "x", "--parallel"]])
def test_translations_need_their_english(given: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["pool.py", str(tmp_path), "-o", str(tmp_path / "pool"), *given])
    with pytest.raises(SystemExit):
        script("pool").main()
    assert not (tmp_path / "pool").exists()
