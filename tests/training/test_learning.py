"""Training makes a model better at what it is trained for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from splare_plugins.model.splare import SplareModel
from splare_plugins.st import SplareEncoder
from splare_plugins.training.config import EvaluationSettings, TrainingConfig
from splare_plugins.training.development import Development
from splare_plugins.training.run import train
from tests.training.conftest import WORDS, Settings


@pytest.mark.slow
def test_a_random_model_learns_which_text_is_meant(settings: Settings, base: Path, tmp_path: Path) -> None:
    """Queries are German for the words of the texts, which nothing but training can tell."""
    german = ["Fuchs", "Hund", "Merkmal", "duenn", "Verzeichnis", "Zustand", "Marke", "Motor"]
    german += ["Frage", "Gewicht", "Ufer", "Fluss", "Baum", "Wolke", "Stein", "Brot"]
    folder = tmp_path / "dev"
    (folder / "qrels").mkdir(parents=True)
    corpus = [{"_id": f"d{n}", "text": f"some words on {word}"} for n, word in enumerate(WORDS)]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in corpus))
    queries = [{"_id": f"q{n}", "text": word} for n, word in enumerate(german)]
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in queries))
    lines = "".join(f"q{n}\td{n}\t1\n" for n in range(16))
    (folder / "qrels" / "dev.tsv").write_text(f"query-id\tcorpus-id\tscore\n{lines}")
    data = tmp_path / "german.jsonl"
    with data.open("w") as stream:
        for start in ("a text about", "this is", "we speak of"):
            for asked, word in zip(german, WORDS, strict=True):
                stream.write(json.dumps({"query": asked, "positive": f"{start} {word}"}) + "\n")
    dev = EvaluationSettings(source=str(folder))
    before = Development(dev)(SplareEncoder.from_splare(SplareModel.from_pretrained(base, device="cpu")))
    config = settings(
        data=[{"source": str(data)}],
        loss={"kl": 0, "contrastive": 1, "temperature": 3.0, "lambda_query": 1e-4, "lambda_document": 1e-4},
        lora=None,
        head="all",
        batch_size=16,
        epochs=40,
        learning_rate=3e-3,
        save_every=1000,
        drift_every=0,
        guards={"dense_share": 1.0},
        evaluation={"source": str(folder), "every": 120},
    )
    after = train(TrainingConfig.from_dict(config)).figures
    assert before["dev"] < 0.5
    assert after["eval_dev"] > before["dev"] + 0.15
