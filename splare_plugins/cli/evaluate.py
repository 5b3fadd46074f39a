"""``splare evaluate``: measures of a run, and of others beside it."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from splare_plugins.cli.options import Json
from splare_plugins.errors import InputError

if TYPE_CHECKING:
    from splare_plugins.retrieval.evaluation import Coverage, Qrels, Run

_NAMED = 3


class Subtopics(StrEnum):
    """What becomes of a document that is judged apart for each subtopic."""

    max = "max"


def evaluate(
    qrels: Annotated[Path, typer.Argument(help="Judgements: BEIR folder, TREC qrels, TSV, CSV, JSONL, Parquet.")],
    run: Annotated[Path, typer.Argument(help="Run of TREC or MS MARCO; with --compare, the baseline.")],
    measures: Annotated[
        list[str], typer.Option("--measure", "-m", help="As ir-measures or trec_eval writes them; may be repeated.")
    ] = ["nDCG@10", "R@100"],  # noqa: B006 (typer wants a list)
    split: Annotated[str | None, typer.Option(help="Split of a folder of judgements.", show_default="test")] = None,
    subtopics: Annotated[
        Subtopics | None,
        typer.Option(help="A document judged apart for each subtopic has the highest of its grades."),
    ] = None,
    compare: Annotated[
        list[Path] | None,
        typer.Option(help="Another run, tested against the first query by query; may be repeated."),
    ] = None,
    per_query: Annotated[bool, typer.Option("--per-query", help="Figures of every query too.")] = False,
    as_json: Json = False,
) -> None:
    """Measure a run against judgements; judged queries without an answer count as 0.

    With --compare: paired t-test and randomisation test over all judged queries, with Holm's correction over all runs
    and measures, and at how many queries each run is better or worse.
    """
    from splare_plugins.cli.console import print_facts, print_json
    from splare_plugins.corpus import read_qrels, read_run
    from splare_plugins.retrieval.evaluation import evaluate as measure
    from splare_plugins.retrieval.evaluation import evaluate_per_query

    judgements, ranking = read_qrels(qrels, split=split, subtopics="max" if subtopics else None), read_run(run)
    if compare:
        if per_query:
            raise InputError("--compare has no --per-query; evaluate each run with --per-query for itself")
        names = [str(path) for path in (run, *compare)]
        if len(set(names)) < len(names):
            raise InputError("a run is named twice; name each run once")
        _compare(judgements, {name: read_run(name) for name in names}, measures, as_json=as_json)
        return
    figures = measure(judgements, ranking, measures)
    counts = _counted(str(run), judgements, ranking)._asdict()
    queries = evaluate_per_query(judgements, ranking, measures) if per_query else None
    if as_json:
        print_json({**figures, **counts, **({"per_query": queries} if queries else {})})
        return
    for qid, values in (queries or {}).items():
        print_facts(qid, {name: f"{value:.4f}" for name, value in values.items()})
    print_facts("mean over judged queries", {name: f"{value:.4f}" for name, value in figures.items()})
    print_facts("queries", counts)


def _compare(qrels: Qrels, runs: dict[str, Run], measures: list[str], *, as_json: bool) -> None:
    from splare_plugins.cli.console import print_facts, print_json, print_table
    from splare_plugins.retrieval.significance import SEED, compare

    counts = {name: _queries(name, qrels, run) for name, run in runs.items()}
    first, *others = runs
    found = compare(qrels, runs[first], {name: runs[name] for name in others}, measures)
    if as_json:
        comparisons = [asdict(each) for each in found]
        print_json({"baseline": first, "seed": SEED, "queries": counts, "comparisons": comparisons})
        return
    means = ("mean", "baseline", "difference", "wins", "ties", "losses")
    tests = ("t_p", "t_holm", "randomisation_p", "randomisation_holm")
    print_table(
        f"beside {first}, over {len(qrels):,} judged queries",
        ("run", "measure", *means, "t-test p", "Holm", "randomisation p", "Holm"),
        [(each.run, each.measure, *(_cell(getattr(each, name)) for name in (*means, *tests))) for each in found],
    )
    for name, facts in counts.items():
        print_facts(f"queries of {name}", {key: _shown(value) for key, value in facts.items()})


def _cell(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.4f}"


def _counted(name: str, qrels: Qrels, run: Run) -> Coverage:
    """How a run covers the judged queries; one of other queries is refused."""
    from splare_plugins.retrieval.evaluation import coverage

    counts = coverage(qrels, run)
    if not counts.answered:
        answered = [qid for qid, hits in run.items() if hits.docids]
        seen = f"its queries are {_shown(answered)}" if answered else "it is empty"
        raise InputError(f"{name} answers none of the {counts.judged} judged queries: {seen}; give a run of these")
    return counts


def _queries(name: str, qrels: Qrels, run: Run) -> dict[str, Any]:
    """How a run covers the judged queries, with the ids of those that differ."""
    counts = _counted(name, qrels, run)
    answered = [qid for qid, hits in run.items() if hits.docids]
    known = set(answered)
    return {
        **counts._asdict(),
        "unanswered_queries": [qid for qid in qrels if qid not in known],
        "unjudged_queries": [qid for qid in answered if qid not in qrels],
    }


def _shown(value: Any) -> Any:
    """A few of a list; nothing of an empty one."""
    if not isinstance(value, list):
        return value
    more = f" and {len(value) - _NAMED} more" if len(value) > _NAMED else ""
    return ", ".join(value[:_NAMED]) + more if value else None
