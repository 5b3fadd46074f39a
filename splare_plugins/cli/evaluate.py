"""``splare evaluate``: measures of a run."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from splare_plugins.cli.options import Json


class Subtopics(StrEnum):
    """What becomes of a document that is judged apart for each subtopic."""

    max = "max"


def evaluate(
    qrels: Annotated[Path, typer.Argument(help="Judgements: BEIR folder, TREC qrels, TSV, CSV, JSONL, Parquet.")],
    run: Annotated[Path, typer.Argument(help="Run of TREC or MS MARCO.")],
    measures: Annotated[
        list[str], typer.Option("--measure", "-m", help="As ir-measures or trec_eval writes them; may be repeated.")
    ] = ["nDCG@10", "R@100"],  # noqa: B006 (typer wants a list)
    split: Annotated[str | None, typer.Option(help="Split of a folder of judgements.", show_default="test")] = None,
    subtopics: Annotated[
        Subtopics | None,
        typer.Option(help="A document judged apart for each subtopic has the highest of its grades."),
    ] = None,
    per_query: Annotated[bool, typer.Option("--per-query", help="Figures of every query too.")] = False,
    as_json: Json = False,
) -> None:
    """Measure a run against judgements; judged queries without an answer count as 0."""
    from splare_plugins.cli.console import print_facts, print_json
    from splare_plugins.corpus import read_qrels, read_run
    from splare_plugins.retrieval.evaluation import coverage, evaluate_per_query
    from splare_plugins.retrieval.evaluation import evaluate as measure

    judgements, ranking = read_qrels(qrels, split=split, subtopics="max" if subtopics else None), read_run(run)
    figures = measure(judgements, ranking, measures)
    counts = coverage(judgements, ranking)._asdict()
    queries = evaluate_per_query(judgements, ranking, measures) if per_query else None
    if as_json:
        print_json({**figures, **counts, **({"per_query": queries} if queries else {})})
        return
    for qid, values in (queries or {}).items():
        print_facts(qid, {name: f"{value:.4f}" for name, value in values.items()})
    print_facts("mean over judged queries", {name: f"{value:.4f}" for name, value in figures.items()})
    print_facts("queries", counts)
