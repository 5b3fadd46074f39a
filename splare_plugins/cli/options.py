"""Options that several verbs share."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from splare_plugins.errors import InputError

if TYPE_CHECKING:
    from splare_plugins.cli.loading import Loading
    from splare_plugins.model.encoder import Encoder

# Written out here because importing the package of the built-in model for it would be slow.
DEFAULT_MODEL = "splare-e5-small"

Model = Annotated[str, typer.Option("--model", "-M", help="Built-in name, model folder, hub id, or st:FOLDER.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
Json = Annotated[bool, typer.Option("--json", help="Print one line of JSON.")]
TopKOption = Annotated[
    str, typer.Option("--top-k", help="Latents kept of a text: a number, 'model' for the model's own, 'none' for all.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what stands at the output.")]


class Duplicates(StrEnum):
    """What to do with a document whose id came before."""

    error = "error"
    first = "first"


OnDuplicateOption = Annotated[
    Duplicates, typer.Option(help="A document id that came before: stop, or keep the first document and count.")
]


def parse_top_k(value: str) -> int | Literal["model"] | None:
    """The value of ``--top-k``.

    Raises:
        InputError: if it is neither a number nor one of the two words.
    """
    if value == "model":
        return "model"
    if value == "none":
        return None
    if not value.isascii() or not value.isdigit() or int(value) < 1:
        raise InputError(f"--top-k takes a number from 1, 'model' or 'none', not {value!r}")
    return int(value)


def load_model(name: str, loading: Loading | str) -> Encoder:
    """The model, with a line that says what is going on: loading takes seconds.

    Args:
        name: what ``SplareModel.from_pretrained`` takes.
        loading: the options of the verb, or just a device.
    """
    from splare_plugins.cli.console import console

    with console.status(f"loading {name}"):
        from transformers.utils import logging as transformers_logging

        from splare_plugins.cli.loading import Loading

        transformers_logging.disable_progress_bar()
        how = Loading(device=loading) if isinstance(loading, str) else loading
        return how.load(name)
