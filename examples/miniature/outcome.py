"""Both models on the test sets, and the table."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from rich.table import Table
from settings import LANGUAGES, METHODS, Settings
from steps import console, read_lines

from splare_plugins.machine.files import replacing

SETS = ("scifact", *(f"xquad-{language}-en" for language in LANGUAGES))
BUDGETS = ((None, None), (40, 400))


def evaluate(out: Path, method: str, work: Path, device: str) -> None:
    """Integer impacts, searched exactly; the first set also sets the scales."""
    from splare_plugins.training.config import EvaluationSettings
    from splare_plugins.training.finish import finish

    sets = [EvaluationSettings(source=str(work / "tests" / name), split="test", queries=None) for name in SETS]
    rows = finish(work / f"train-{method}" / "model", sets, budgets=BUDGETS, device=device)
    with replacing(out) as beside:
        beside.write_text(json.dumps([row._asdict() for row in rows], indent=1), encoding="utf-8")


def report(work: Path, settings: Settings) -> None:
    """The table, printed and in ``results.json``."""
    heads = [name.removeprefix("xquad-").replace("-", ">") for name in SETS]
    table = Table("model", "top-k", *heads, "en", "other>en", "latents", title="nDCG@10 x 100")
    lines = []
    for query_top_k, document_top_k in BUDGETS:
        for method in METHODS:
            rows = {
                row["dataset"]: row
                for row in json.loads((work / f"{method}.json").read_text(encoding="utf-8"))
                if row["query_top_k"] == query_top_k and row["document_top_k"] == document_top_k
            }
            values = [100 * rows[name]["value"] for name in SETS]
            english, others = sum(values[:2]) / 2, sum(values[2:]) / len(values[2:])
            latents = [
                sum(rows[name][f"{side}_latents"] for name in SETS) / len(SETS) for side in ("query", "document")
            ]
            budget = "all" if query_top_k is None else f"{query_top_k}/{document_top_k}"
            shown = [f"{value:.1f}" for value in (*values, english, others)]
            table.add_row(method.upper(), budget, *shown, "/".join(f"{each:.0f}" for each in latents))
            figures = dict(zip((*SETS, "english", "cross-lingual"), (*values, english, others), strict=True))
            lines.append({"model": method, "top_k": budget, **figures, "latents": latents})
    training = {method: read_lines(work / f"train-{method}" / "log.jsonl")[-1] for method in METHODS}
    result = {"settings": dataclasses.asdict(settings), "table": lines, "last_step": training}
    (work / "results.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    console.print(table)
    console.print(f"saved {work / 'results.json'}")
