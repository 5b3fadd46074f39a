"""``splare train``: a model from a config, and what stands before and after it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from splare_plugins.cli.options import Device, Json, Overwrite
from splare_plugins.cli.train_data import embed, mine, score
from splare_plugins.errors import splare_command

if TYPE_CHECKING:
    from splare_plugins.machine import Progress

Config = Annotated[Path, typer.Argument(help="YAML file with the settings; see docs/training.md.")]


class Method(StrEnum):
    """How adapters are averaged."""

    cat = "cat"
    svd = "svd"


class _ConfigFirst(TyperGroup):
    """``splare train CONFIG.yaml`` is ``splare train run CONFIG.yaml``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, "-h", "--help"}:
            args = ["run", *args]
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed


train = typer.Typer(
    help="Train a model: splare train CONFIG.yaml; other verbs prepare data and finish models.",
    cls=_ConfigFirst,
    no_args_is_help=True,
)


for verb in (mine, score, embed):
    train.command()(verb)


@train.command()
def run(
    config: Config,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Train a model by a config; the same command goes on after an interruption."""
    from splare_plugins.cli.console import progress, report_model
    from splare_plugins.training.config import TrainingConfig
    from splare_plugins.training.monitor import Advance

    settings = TrainingConfig.from_yaml(config)
    with progress("training") as advance:
        from splare_plugins.training.run import train as train_model

        outcome = train_model(settings, overwrite=overwrite, callbacks=[Advance(advance)])
    shown = ("objective", "kl", "active_query", "active_document", "dead_latents", "drift_cosine", "eval_dev")
    facts = {
        "steps": outcome.steps,
        **{name: round(outcome.figures[name], 4) for name in shown if name in outcome.figures},
        "next": splare_command("train", "finish", outcome.folder, "BEIR-FOLDER"),
    }
    report_model("trained", outcome.folder, outcome.config, facts, as_json=as_json)


@train.command()
def static(
    config: Config,
    device: Device = "auto",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Train a table from tokens to latents, which encodes queries without a transformer."""
    from contextlib import ExitStack

    from splare_plugins.cli.console import progress, report
    from splare_plugins.training.static.run import train_static
    from splare_plugins.training.static.settings import StaticSettings

    settings = StaticSettings.from_yaml(config)
    with ExitStack() as shown:

        def begin(what: str, count: int) -> Progress:
            shown.close()  # one bar after the other
            return shown.enter_context(progress(what, count))

        encoder = train_static(settings, device=device, overwrite=overwrite, steps=begin)
    table = encoder.table
    facts = {
        "model": encoder.config.name,
        "tokens": len(table),
        "latents_a_token": round(len(table.latents) / len(table), 1),
        "megabytes": round((table.latents.nbytes + table.weights.nbytes + table.starts.nbytes) / 1e6, 1),
    }
    report(f"trained {settings.output}", facts, as_json=as_json)


@train.command()
def average(
    models: Annotated[list[Path], typer.Argument(help="Folders of models trained from the same base.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Model folder to make.")],
    method: Annotated[
        Method, typer.Option(help="cat adds the ranks up and is exact; svd cuts to a rank.")
    ] = Method.cat,
    rank: Annotated[
        int | None, typer.Option(min=1, help="Rank for svd; the largest of the models' by default.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the model.")] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """The mean of several runs."""
    from splare_plugins.cli.console import report_model
    from splare_plugins.training.average import average_models

    config = average_models(models, output, method=method.value, rank=rank, name=name, overwrite=overwrite)
    facts = {"of": len(models), "next": splare_command("train", "finish", output, "BEIR-FOLDER")}
    report_model("averaged", output, config, facts, as_json=as_json)


@train.command()
def merge(
    model: Annotated[str, typer.Argument(help="Folder, hub id or built-in name of a model with an adapter.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Model folder to make.")],
    dtype: Annotated[str, typer.Option(help="Of the weights written: float32, bfloat16, float16.")] = "float32",
    name: Annotated[str | None, typer.Option(help="Name of the model; the same if left out.")] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Put a model's adapter into the weights of its backbone; the vectors stay the same."""
    from splare_plugins.cli.console import console, report_model
    from splare_plugins.training.average import merge_model

    with console.status(f"merging {model}"):
        config = merge_model(model, output, dtype=dtype, name=name, overwrite=overwrite)
    report_model("merged", output, config, {}, as_json=as_json)


@train.command()
def finish(
    model: Annotated[Path, typer.Argument(help="Folder of a trained model.")],
    corpora: Annotated[list[str], typer.Argument(help="BEIR folders with judgements; the first one sets the scales.")],
    split: Annotated[str, typer.Option(help="Split of the judgements.")] = "test",
    measure: Annotated[str, typer.Option(help="As ir-measures writes it.")] = "nDCG@10",
    queries: Annotated[int | None, typer.Option(min=1, help="Most queries of a set.")] = None,
    documents: Annotated[
        int | None, typer.Option(min=1, help="Most documents of a set; judged ones are kept.")
    ] = None,
    sample: Annotated[int, typer.Option(min=1, help="Texts a side for the scales.")] = 1000,
    licence: Annotated[str | None, typer.Option(help="Of the model, for its card.")] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Calibrate a trained model, measure what fewer latents cost, and write its card."""
    from rich.table import Table

    from splare_plugins.cli.console import print_json, progress, results
    from splare_plugins.training.config import EvaluationSettings
    from splare_plugins.training.finish import finish as finish_model

    sets = [
        EvaluationSettings(source=corpus, split=split, queries=queries, documents=documents, measure=measure)
        for corpus in corpora
    ]
    with progress("encoding") as advance:
        rows = finish_model(model, sets, sample=sample, device=device, licence=licence, on_progress=advance)
    if as_json:
        print_json({"folder": str(model), "rows": [row._asdict() for row in rows]})
        return
    table = Table("data", "split", "query top-k", "document top-k", measure, "query latents", "document latents")
    for row in rows:
        kept = ("all" if limit is None else str(limit) for limit in (row.query_top_k, row.document_top_k))
        counts = f"{row.query_latents:.1f}", f"{row.document_latents:.1f}"
        table.add_row(row.dataset, row.split, *kept, f"{row.value:.4f}", *counts)
    results.print(table)


@train.command()
def mntp(
    config: Config,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Accustom a language model to looking both ways: masked next token prediction, before training proper."""
    from splare_plugins.cli.console import progress, report_model
    from splare_plugins.training.mntp import MntpConfig
    from splare_plugins.training.mntp import mntp as predict_masked

    settings = MntpConfig.from_yaml(config)
    with progress("predicting masked tokens", settings.steps) as advance:
        from splare_plugins.training.monitor import Advance

        trained = predict_masked(settings, overwrite=overwrite, callbacks=[Advance(advance)])
    folder = Path(settings.output) / "model"
    facts = {"next": splare_command("train", "merge", folder, "-o", "BASE")}
    report_model("trained", folder, trained, facts, as_json=as_json)
