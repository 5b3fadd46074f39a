"""Training on claims of SciFact, and the sets it is measured on: what the notebooks on training share."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import bm25s

from splare_plugins.corpus import read_documents, read_qrels, read_queries
from splare_plugins.training.config import DataSettings, EvaluationSettings, LoraSettings, LossSettings, TrainingConfig

BASE = "splare-e5-small-zero-shot"


def write_rows(data: Path, path: Path, *, full: bool) -> int:
    """Claims of SciFact's training judgements, each with an abstract it was judged by and BM25's best other one.

    Test claims are not read. In the small setting these are German questions and the beginnings of paragraphs.

    Returns:
        How many rows were written.
    """
    folder, split, characters = (data / "scifact", "train", None) if full else (data / "xquad" / "de", "test", 100)
    texts = {each.docid: each.content[:characters] for each in read_documents(folder)}
    asked = {each.qid: each.text for each in read_queries(folder)}
    judged = read_qrels(folder / "qrels" / f"{split}.tsv")
    docids = list(texts)
    bm25 = bm25s.BM25()
    bm25.index(bm25s.tokenize(list(texts.values()), show_progress=False), show_progress=False)
    queries = bm25s.tokenize([asked[qid] for qid in judged], show_progress=False)
    found, _ = bm25.retrieve(queries, k=5, show_progress=False)
    rows = []
    for (qid, relevant), best in zip(judged.items(), found, strict=True):
        negative = next(docids[number] for number in best if docids[number] not in relevant)
        positive = next(docid for docid, grade in relevant.items() if grade > 0)
        rows.append({"query": asked[qid], "positive": texts[positive], "negatives": [texts[negative]]})
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return len(rows)


def training(
    rows: Path, output: Path, *, steps: int, full: bool, loss: LossSettings, **settings: Any
) -> TrainingConfig:
    """A training that two notebooks share but for what they vary: an adapter on the last four layers."""
    return TrainingConfig(
        model=BASE,
        output=str(output),
        data=(DataSettings(source=str(rows)),),
        negatives=1,
        query_length=32,
        document_length=80,
        loss=loss,
        lora=LoraSettings(rank=16, last_layers=4),
        batch_size=8 if full else 2,
        steps=steps,
        learning_rate=1e-3,
        warmup=0.1,
        dropout=0,
        precision="bfloat16" if full else "float32",
        attention="eager",
        device="cpu",
        drift_every=steps,
        seed=1,
        **settings,
    )


def judged_sets(data: Path, cross: Path, sizes: dict[str, tuple[int, int]]) -> dict[str, EvaluationSettings]:
    """SciFact's test claims and XQuAD's English paragraphs, asked in German: so many queries and documents of each.

    Args:
        data: folder of the bundled collections.
        cross: folder to write, of English paragraphs and German questions.
        sizes: by name, ``SciFact`` or ``XQuAD de-en``.
    """
    shutil.copytree(data / "xquad" / "en", cross)
    shutil.copy(data / "xquad" / "de" / "queries.jsonl.gz", cross / "queries.jsonl.gz")
    folders = {"SciFact": data / "scifact", "XQuAD de-en": cross}
    return {
        name: EvaluationSettings(source=str(folders[name]), split="test", queries=queries, documents=documents)
        for name, (queries, documents) in sizes.items()
    }
