"""Finishing a model: scales, the trade-off, the card."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array

from splare_plugins.cli.app import main
from splare_plugins.engines.memory import MemoryEngine
from splare_plugins.errors import InputError
from splare_plugins.impacts import keep_largest
from splare_plugins.model.splare import SplareModel
from splare_plugins.retrieval.evaluation import evaluate
from splare_plugins.retrieval.indexing import search_queries
from splare_plugins.training.config import EvaluationSettings, TrainingConfig
from splare_plugins.training.finish import finish
from splare_plugins.training.run import train
from tests.training.conftest import WORDS, Settings


@pytest.fixture
def judged(tmp_path: Path) -> Path:
    folder = tmp_path / "judged"
    (folder / "qrels").mkdir(parents=True)
    corpus = [{"_id": f"d{n}", "text": f"a text about {word}"} for n, word in enumerate(WORDS)]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in corpus))
    queries = [{"_id": f"q{n}", "text": word} for n, word in enumerate(WORDS)]
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in queries))
    lines = "".join(f"q{n}\td{n}\t1\n" for n in range(10))
    (folder / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{lines}")
    return folder


def test_a_trained_model_is_finished_and_can_be_indexed(
    settings: Settings, judged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = train(TrainingConfig.from_dict(settings(steps=3))).folder
    with pytest.raises(SystemExit) as stop:
        main(["train", "finish", str(folder), str(judged), "--device", "cpu", "--json", "--licence", "apache-2.0"])
    printed = capsys.readouterr()
    assert stop.value.code in (0, None), printed.err
    rows = json.loads(printed.out)["rows"]
    assert [(row["query_top_k"], row["document_top_k"]) for row in rows][:2] == [(None, None), (40, 400)]
    model = SplareModel.from_pretrained(folder, device="cpu")
    assert model.config.query.scale and model.config.document.scale
    # The figures are those of an index.
    texts = [f"a text about {word}" for word in WORDS]
    with MemoryEngine().writer(str(tmp_path / "index"), model.config) as writer:
        impacts = model.quantizer.documents(model.encode_documents(texts, top_k=400)).impacts
        writer.add([f"d{n}" for n in range(16)], impacts)
    asked = model.quantizer.queries(model.encode_queries(WORDS[:10], top_k=40)).impacts
    with MemoryEngine().searcher(str(tmp_path / "index")) as searcher:
        run = search_queries(searcher, [f"q{n}" for n in range(10)], asked, 16)
    qrels = {f"q{n}": {f"d{n}": 1} for n in range(10)}
    assert rows[1]["value"] == pytest.approx(evaluate(qrels, run)["nDCG@10"], abs=1e-9)
    assert rows[1]["document_latents"] == pytest.approx(impacts.nnz / 16)
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert f"| {rows[1]['value']:.4f}".rstrip("0") in card
    assert "license: apache-2.0" in card
    assert "nDCG@10, top-k 40/400" in card


def test_what_cannot_be_finished_is_refused(tiny_folder: Path, judged: Path) -> None:
    with pytest.raises(InputError, match="needs a judged set"):
        finish(tiny_folder, [])
    with pytest.raises(InputError, match="has no train split"):
        finish(tiny_folder, [EvaluationSettings(source=str(judged), split="train")])


def test_the_largest_weights_of_each_row_are_kept() -> None:
    weights = csr_array(np.array([[0.0, 3.0, 1.0, 2.0], [0.0, 0.0, 0.0, 0.0], [5.0, 0.0, 0.0, 0.0]]))
    assert keep_largest(weights, 2).toarray().tolist() == [[0, 3, 0, 2], [0, 0, 0, 0], [5, 0, 0, 0]]
    assert keep_largest(weights, None) is weights
    assert weights.nnz == 4
