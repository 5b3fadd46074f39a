"""``splare experiment``: systems by collections by measures, from one file."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from splare_plugins.cli.options import Json

if TYPE_CHECKING:
    from splare_plugins.experiment.pages import Difference
    from splare_plugins.experiment.results import Results

experiment = typer.Typer(help="Compare systems on collections, by one config.", no_args_is_help=True)


@experiment.command()
def run(
    config: Annotated[Path, typer.Argument(help="YAML file with the settings; see docs/experiments.md.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of runs, figures, tables and the record.")],
    data: Annotated[
        Path | None, typer.Option(help="Folder of the bundled collections.", show_default="examples/data of the clone")
    ] = None,
    collection: Annotated[
        list[str] | None,
        typer.Option(help="Only this collection of the config; may be repeated.", show_default="all"),
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

        settings = ExperimentConfig.from_yaml(config).only(collection or ())
        outcome = run_experiment(settings, output, data=data or DATA, steps=say)
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
    plots: Annotated[
        Path | None, typer.Option(help="Folder for plots too, as PDF and PNG.", show_default="no plots")
    ] = None,
) -> None:
    """Print the tables of an experiment, and plot it."""
    from splare_plugins.experiment.run import shown_tables

    typer.echo(shown_tables(folder))
    if plots is not None:
        from splare_plugins.experiment.pictures import draw
        from splare_plugins.experiment.results import read_results

        for path in draw(read_results(folder), plots):
            typer.echo(path)


@experiment.command()
def page(
    folder: Annotated[Path, typer.Argument(help="Folder of an experiment.")],
    config: Annotated[Path, typer.Argument(help="YAML file that it was run with, as the page shall name it.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Markdown file; expected figures in it are kept.")],
    tolerance: Annotated[
        float | None,
        typer.Option(min=0, help="By which a figure may differ.", show_default="that of the page, else 0.005"),
    ] = None,
    renew: Annotated[bool, typer.Option("--renew", help="Expect what was observed, whatever the page says.")] = False,
) -> None:
    """Write a reproduction page: the command, the figures expected and observed, and with what.

    A page that is there keeps the figures that it expects; exits with 1 if one of those observed does not agree.
    """
    from splare_plugins.experiment.pages import TOLERANCE, Page, differences, read_page, reproduction_page
    from splare_plugins.experiment.results import read_results
    from splare_plugins.machine.files import write_whole

    results = read_results(folder)
    before = read_page(output) if output.exists() and not renew else None
    tolerance = tolerance if tolerance is not None else before.tolerance if before else TOLERANCE
    expected = before.expected if before else None
    text = reproduction_page(results, config, output, expected=expected, tolerance=tolerance)
    write_whole(output, text.encode())
    if before:
        _report(list(differences(Page(before.expected, tolerance), results.means(), _names(results))), output)


@experiment.command()
def check(
    folder: Annotated[Path, typer.Argument(help="Folder of an experiment.")],
    page: Annotated[Path, typer.Argument(help="Reproduction page that it is held against.")],
) -> None:
    """Hold an experiment against the figures that a reproduction page expects; exits with 1 if one differs."""
    from splare_plugins.experiment.pages import differences, read_page
    from splare_plugins.experiment.results import read_results

    results = read_results(folder)
    _report(list(differences(read_page(page), results.means(), _names(results))), page)


def _names(results: Results) -> list[str]:
    return [each.name for each in results.config.collections]


def _report(found: list[Difference], page: Path) -> None:
    for each in found:
        typer.echo(str(each))
    if found:
        typer.echo(f"{len(found)} of the figures differ from those of {page}")
        raise typer.Exit(1)
    typer.echo(f"all figures agree with those of {page}")
