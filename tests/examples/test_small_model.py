"""What the built-in model is trained on: parallel texts from their files to rows and teachers' vectors."""

from __future__ import annotations

import gzip
import json
import random
import struct
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

from splare_plugins.backbone.adapter import apply_adapter
from splare_plugins.model.builtin.convert import raw_head
from splare_plugins.model.splare import SplareModel
from splare_plugins.training.data.rows import read_rows
from splare_plugins.training.data.teachers import TeacherVectors
from tests.cli.conftest import DATA

FOLDER = DATA.parent / "small_model"
LONG = {
    "en": "A calendar that keeps appointments, tasks and journals in files that other programs can read too. "
    "It reminds of what is due.",
    "de": "Ein Kalender, der Termine und Aufgaben in Dateien ablegt, die auch andere Programme lesen.",
}


class Catalog(dict[str, str]):
    """A catalog of gettext, as ``msgfmt`` writes it."""

    def write(self, path: Path) -> None:
        messages = sorted({"": "Content-Type: text/plain; charset=UTF-8\n", **self}.items())
        sides = [[text.encode() for text in column] for column in zip(*messages, strict=True)]
        place, tables, body = 28 + 16 * len(messages), b"", b""
        for side in sides:
            for text in side:
                tables += struct.pack("<II", len(text), place + len(body))
                body += text + b"\0"
        starts = 28, 28 + 8 * len(messages)
        path.write_bytes(struct.pack("<7I", 0x950412DE, 0, len(messages), *starts, 0, 0) + tables + body)


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
    translations = script("translations")
    files = translation(tmp_path, "en", "a calendar"), translation(tmp_path, "de", "ein Kalender")
    english = "a calendar", f"{LONG['en']} End."
    expected = {("ein Kalender", english[1]), ("a calendar", f"{LONG['de']} End.")}
    made = [row for seed in range(20) for row in translations.translated(*files, random.Random(seed))]
    assert {(row["query"], row["positive"]) for row in made} == expected
    assert {(row["english_query"], row["english_positive"]) for row in made} == {english}


def test_sentences_of_a_handbook_and_of_catalogs_ask_across_languages(tmp_path: Path) -> None:
    translations = script("translations")
    english = "The kernel talks to the hardware of the machine. Programs see nothing of it, and need not."
    german = "Der Kernel spricht mit der Hardware des Rechners. Programme sehen davon nichts, was auch gut ist."
    pages = {"en-US": [english, "Short."], "de-DE": [german, "Kurz."], "zh-TW": [english, "Short."]}
    for language, texts in pages.items():
        (tmp_path / "book" / language).mkdir(parents=True)
        text = "".join(f'<div class="para">\n{text.replace("Kernel", "<b>Kernel</b>")}</div>' for text in texts)
        (tmp_path / "book" / language / "kernel.html").write_text(text, encoding="utf-8")
    message = (
        "The nomads crossed the steppe with their herds. They traded horses for grain, and knew every well there."
    )
    nomads = (
        "Die Nomaden zogen mit ihren Herden durch die Steppe. Sie tauschten Pferde gegen Korn und kannten Brunnen."
    )
    for language, text in (("de", nomads), ("fr", nomads)):
        folder = tmp_path / "locale" / language / "LC_MESSAGES"
        folder.mkdir(parents=True)
        catalog = Catalog({f"<i>{message}</i> {english}": f"<i>{text}</i> {german}", f"{message} {english} %s": text})
        catalog.write(folder / "game.mo")

    def made(source, folder: Path) -> list[dict[str, str]]:
        return [row for seed in range(30) for row in source(folder, random.Random(seed))]

    for rows, texts in (
        (made(translations.handbook, tmp_path / "book"), {english, german}),
        (made(translations.catalogs, tmp_path / "locale"), {f"{message} {english}", f"{nomads} {german}"}),
    ):
        assert {row["positive"] for row in rows} == texts
        assert all(row["english_query"] in row["english_positive"] for row in rows)
        assert all(row["query"] not in row["positive"] for row in rows)


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

    out = tmp_path / "out"
    encoders = {"english": lambda: teacher, "other": lambda: teacher}
    prepare.prepare(tmp_path / "pool", out, bi_encoders=encoders, dense=lambda: teacher, originals=True)
    assert set(read) == {row["english_query"] for row in rows}
    for name in ("english", "other", "bm25", "dense"):
        vectors = TeacherVectors.load(out / "teachers" / f"{name}.safetensors")
        table = vectors.scores([row["query"] for row in rows], [row["positive"] for row in rows])
        assert (table.argmax(1) == np.arange(8)).all(), name
    rows_file = out / "rows" / "sentences.jsonl"
    written = [row for _, row, _ in read_rows(str(rows_file))]
    assert [row["query"] for row in written] == [row["query"] for row in rows]
    assert all(row["positive"] not in row["negatives"] and row["negatives"] for row in written)

    # Stopped before one teacher, it reads only that one's texts again.
    before = rows_file.read_bytes()
    (out / "teachers" / "other.safetensors").unlink()
    read.clear()
    prepare.prepare(tmp_path / "pool", out, bi_encoders=encoders, dense=lambda: teacher, originals=True)
    assert len(read) == len(rows)
    assert rows_file.read_bytes() == before


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["--translations", "x"], "--translations go with"),
        (["--translations", "x", "--parallel"], "--translations go with"),
        (["--asking", "ar"], "--asking goes with"),
        (["--handbook", "x"], "--handbook and --catalogs go with"),
        (["--handbook", "x", "--parallel"], "x has no en-US"),
        (["--catalogs", "x", "--parallel"], "x holds no catalog"),
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
    translations = script("translations")
    languages = ("en", *translations.COMMON, *translations.LANGUAGES)
    file = tmp_path / "parallel.jsonl.gz"
    with gzip.open(file, "wt", encoding="utf-8") as stream:
        rows = ({language: f"{language} sentence {number}" for language in languages} for number in range(12))
        stream.writelines(json.dumps(row) + "\n" for row in rows)
    found = list(translations.parallel(file, random.Random(0), turns=4, asking=asking, rarely=()))
    assert {row["query"][:2] for row in found} == expected
    assert all(row["english_query"] == f"en{row['query'][2:]}" for row in found)


@pytest.mark.model
def test_the_untrained_model_is_the_wheel_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    untrained = script("untrained")
    monkeypatch.setattr(untrained, "SAMPLE", 4)
    monkeypatch.setattr(sys, "argv", ["untrained.py", str(DATA), "-o", str(tmp_path / "untrained")])
    untrained.main()
    made, raw = SplareModel.from_pretrained(tmp_path / "untrained"), raw_head()
    torch.testing.assert_close((made.head.W, made.head.b), (raw.W, raw.b), rtol=0, atol=0)
    assert made.config.adapter is None
    # Without thresholds most latents fire on any text.
    text = ["The Panthers defense gave up just 308 points."]
    assert made.encode_documents(text, top_k=None).nnz > 4000
    assert made.quantizer.documents(made.encode_documents(text)).impacts.max() > 100
