"""``splare fuse``: several runs made one."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from splare_plugins.cli.options import Json


class FusionMethod(StrEnum):
    """How the scores of runs are brought to one scale."""

    rrf = "rrf"
    minmax = "minmax"
    zscore = "zscore"


def fuse(
    runs: Annotated[list[Path], typer.Argument(help="Two runs or more, of TREC or MS MARCO.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="TREC run to write.")],
    method: Annotated[
        FusionMethod,
        typer.Option(help="rrf: 1 / (60 + rank); minmax, zscore: scores of a query on one scale. These are added."),
    ] = FusionMethod.rrf,
    weight: Annotated[
        list[float] | None,
        typer.Option("--weight", "-w", help="Of a run, once for each in their order.", show_default="1 each"),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Most documents per query.")] = 1000,
    depth: Annotated[
        int | None, typer.Option(min=1, help="Hits of a query taken from each run.", show_default="all")
    ] = None,
    tag: Annotated[str, typer.Option(help="Name of the run, its last column.")] = "fused",
    as_json: Json = False,
) -> None:
    """Fuse runs: by reciprocal ranks, or by scores brought to one scale.

    A document that a run lacks has the lowest part of that run, which is 0 for rrf and minmax. Queries that only some
    runs have are kept. docs/experiments.md has the formulas.
    """
    from splare_plugins.cli.console import report
    from splare_plugins.corpus import read_run, write_run
    from splare_plugins.errors import InputError
    from splare_plugins.machine.folders import require_no_input
    from splare_plugins.retrieval.fusion import fuse

    if output.is_dir():
        raise InputError(f"{output} is a folder; name the file of the run, such as {output / 'fused.trec'}")
    require_no_input(output, *runs)
    if weight and len(weight) != len(runs):
        raise InputError(f"--weight must be given once for each of the {len(runs)} runs, not {len(weight)} times")
    read = [read_run(run) for run in runs]
    for number, (path, one) in enumerate(zip(runs, read, strict=True)):
        others = {qid for other in (*read[:number], *read[number + 1 :]) for qid in other}
        if len(read) > 1 and others.isdisjoint(one):
            seen = (
                f"it has {', '.join(list(one)[:3])} and they {', '.join(list(others)[:3])}" if one else "it is empty"
            )
            raise InputError(f"{path} shares no query with the other runs: {seen}; give runs of the same queries")
    fused = fuse(read, method.value, weights=weight or None, k=k, depth=depth)
    write_run(output, fused, tag)
    in_all = sum(all(qid in run for run in read) for qid in fused)
    facts = {"runs": len(runs), "queries": len(fused), "in_all_runs": in_all, "in_some_runs": len(fused) - in_all}
    report(f"run written to {output}", facts, as_json=as_json)
