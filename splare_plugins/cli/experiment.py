"""``splare experiment``: systems by collections by measures, from one file."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from splare_plugins.cli.options import Json

experiment = typer.Typer(help="Compare systems on collections, by one config.", no_args_is_help=True)


@experiment.command()
def run(
    config: Annotated[Path, typer.Argument(help="YAML file with the settings; see docs/experiments.md.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of runs, figures, tables and the record.")],
    data: Annotated[
        Path | None, typer.Option(help="Folder of the bundled collections.", show_default="examples/data of the clone")
    ] = None,
    as_json: Json = False,
) -> None:
    """Run an experiment; the same command goes on after an interruption, and makes no run twice."""
    from splare_plugins.cli.console import console, print_json, progress
    from splare_plugins.experiment.collection import DATA
    from splare_plugins.experiment.config import ExperimentConfig
    from splare_plugins.experiment.run import run_experiment, shown_tables
    from splare_plugins.machine import Progress

    with ExitStack() as bars:

        def say(what: str) -> Progress:
            bars.close()  # of what was done before
            console.print(what, highlight=False, markup=False, soft_wrap=True)
            return bars.enter_context(progress(what))

        outcome = run_experiment(ExperimentConfig.from_yaml(config), output, data=data or DATA, steps=say)
    if as_json:
        means = [
            {"collection": collection, "system": system, **figures}
            for (collection, system), figures in outcome.means.items()
        ]
        print_json({"made": outcome.made, "found": outcome.found, "means": means})
        return
    typer.echo(shown_tables(output))


@experiment.command()
def show(
    folder: Annotated[Path, typer.Argument(help="Folder of an experiment.")],
) -> None:
    """Print the tables of an experiment."""
    from splare_plugins.experiment.run import shown_tables

    typer.echo(shown_tables(folder))
