"""``splare labels``: what the latents of a model stand for, found out from text on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from splare_plugins.cli.options import Json, Loading, Overwrite, expand_options, load_model
from splare_plugins.errors import InputError

labels = typer.Typer(help="Find out what the latents of a model stand for.", no_args_is_help=True)


@labels.callback()
def _group() -> None:
    """A group, though it has one verb."""


@labels.command()
@expand_options
def build(
    model: Annotated[str, typer.Argument(help="Model folder, hub id or built-in name.")],
    corpora: Annotated[
        list[str],
        typer.Argument(
            help="Each a BEIR folder, JSONL or TSV file, irds:NAME or mteb:TASK; de=CORPUS says that its language "
            "is German. Each gives an equal share of the sample."
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="Folder of the labelled model; the model's own folder is labelled in place."
        ),
    ],
    loading: Loading,
    queries: Annotated[
        list[str] | None,
        typer.Option(
            "--queries", "-q", help="Where queries are, to count in how many a latent fires; may be repeated."
        ),
    ] = None,
    sample: Annotated[int, typer.Option(min=1, help="Contexts read, of all corpora together.")] = 15_000,
    seed: Annotated[int, typer.Option(help="Of what is drawn by chance.")] = 0,
    llm: Annotated[
        str | None,
        typer.Option(
            help="Ask a language model for the labels: a URL of an OpenAI-compatible service, such as "
            "http://localhost:8080/v1, or a command that reads a prompt and prints a label. Contexts are sent there."
        ),
    ] = None,
    llm_model: Annotated[str, typer.Option(help="Name of the model at that URL.")] = "default",
    llm_latents: Annotated[int, typer.Option(min=1, help="Latents to ask about, the most used ones.")] = 2000,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Give each latent a label, its strongest contexts and how often it fires; without --llm no service is asked."""
    from splare_plugins.cli.console import progress, report
    from splare_plugins.config import CONFIG_FILE
    from splare_plugins.latents.build import build_labels, corpora_of, require_labelable, save_labelled
    from splare_plugins.latents.llm import Writer
    from splare_plugins.machine.files import require_free
    from splare_plugins.model.describe import describe_model

    config, _, folder = describe_model(model)
    require_labelable(config, folder, output, overwrite=overwrite)
    if output.resolve() != folder.resolve():
        require_free(output, overwrite=overwrite, marker=CONFIG_FILE, what="model")
    if llm is None and llm_model != "default":
        raise InputError("--llm-model names a model of a service; name that with --llm, or omit --llm-model")
    writer = Writer.open(llm, llm_model) if llm is not None else None
    sources, asked = corpora_of(corpora), corpora_of(queries or [], queries=True)
    loaded = load_model(model, loading)
    with progress("reading and encoding") as advance:
        made = build_labels(
            loaded,
            sources,
            queries=asked,
            sample=sample,
            seed=seed,
            writer=writer,
            written=llm_latents,
            on_progress=advance,
        )
    save_labelled(loaded, output, made)
    report(f"labelled {output}", made.about, as_json=as_json)
