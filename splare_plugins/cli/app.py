"""The program: its verbs, and how it fails."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from operator import attrgetter
from typing import Annotated

import typer
from rich.markup import escape

from splare_plugins import __version__
from splare_plugins.cli.assemble import assemble
from splare_plugins.cli.calibrate import calibrate
from splare_plugins.cli.console import LogLines, console
from splare_plugins.cli.demo import demo
from splare_plugins.cli.doctor import doctor
from splare_plugins.cli.encode import encode
from splare_plugins.cli.estimate import estimate
from splare_plugins.cli.evaluate import evaluate
from splare_plugins.cli.experiment import experiment
from splare_plugins.cli.explain import explain
from splare_plugins.cli.export import export
from splare_plugins.cli.fuse import fuse
from splare_plugins.cli.index import index
from splare_plugins.cli.inspect import inspect
from splare_plugins.cli.labels import labels
from splare_plugins.cli.mcp import mcp
from splare_plugins.cli.sae import sae
from splare_plugins.cli.search import search
from splare_plugins.cli.serve import serve
from splare_plugins.cli.train import train
from splare_plugins.cli.tune import tune
from splare_plugins.errors import SplareError
from splare_plugins.machine.packages import TORCH, without_torch
from splare_plugins.machine.quiet import is_for_users, quiet_libraries

INTERRUPTED = 130

app = typer.Typer(
    name="splare",
    help="SPLARE: sparse retrieval with sparse-autoencoder latents, in the search engines people already run.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
VERBS: tuple[Callable[..., None], ...] = (
    *(demo, encode, search, tune, fuse, evaluate, explain, estimate),
    *(inspect, assemble, calibrate, export, serve, mcp, doctor),
)
for command in VERBS:
    app.command()(command)
app.add_typer(index, name="index")
app.add_typer(experiment, name="experiment")
app.add_typer(labels, name="labels")
app.add_typer(sae, name="sae")
app.add_typer(train, name="train")
# What adapters bring: commands under `splare index`, and groups of their own.
for entry in sorted(entry_points(group="splare_plugins.cli.index"), key=attrgetter("name")):
    index.command(entry.name)(entry.load())
for entry in sorted(entry_points(group="splare_plugins.cli"), key=attrgetter("name")):
    app.add_typer(entry.load(), name=entry.name)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"splare {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    debug: Annotated[bool, typer.Option("--debug", help="Show the stack trace of an error.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what is being done.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    handler = LogLines()
    if not verbose:
        handler.addFilter(is_for_users)
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(message)s", handlers=[handler])
    quiet_libraries(verbose=verbose)


def main(arguments: list[str] | None = None) -> None:
    """Run the program and exit: 0, 1 after an unexpected error, 2 after bad input, 130 after an interrupt."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    # --debug is welcome after the verb too.
    arguments = [*(["--debug"] if debug else []), *(argument for argument in arguments if argument != "--debug")]
    try:
        app(arguments, prog_name="splare")
    except SplareError as error:
        if debug:
            raise
        _fail(str(error), 2)
    except SystemExit as stop:
        if stop.code == INTERRUPTED:  # typer's answer to Ctrl-C
            _fail("interrupted; what was finished is kept, and the same command goes on from there", INTERRUPTED)
        raise
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if debug or package == "splare_plugins":
            raise
        if package in TORCH:
            _fail(without_torch("encoding by a model"), 2)
        missing = f"the package {package}, which is not installed" if package else f"a missing package ({error})"
        _fail(f"this needs {missing}; `splare doctor` lists the missing extras", 2)
    except BrokenPipeError:
        sys.exit(1)
    except OSError as error:
        if debug:
            raise
        _fail(f"{error.filename or 'the system'}: {error.strerror or error}", 2)


def _fail(message: str, status: int) -> None:
    console.print(f"[bold red]error:[/] {escape(message)}", highlight=False, soft_wrap=True)
    sys.exit(status)
