"""Options that several verbs share, and how a model is loaded by them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import StrEnum
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import typer

from splare_plugins.errors import InputError

if TYPE_CHECKING:
    from splare_plugins.model.encoder import Encoder

# Written out here because importing the package of the built-in model for it would be slow.
DEFAULT_MODEL = "splare-e5-small"
SPREAD = "spread"
_PANEL = "Loading the model"

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

        transformers_logging.disable_progress_bar()
        how = Loading(device=loading) if isinstance(loading, str) else loading
        return how.load(name)


@dataclass(frozen=True, kw_only=True)
class Loading:
    """How a model is loaded; the fields are the options."""

    device: Annotated[
        str,
        typer.Option(help="auto, cpu, cuda, cuda:1, mps; spread: over all devices there are.", rich_help_panel=_PANEL),
    ] = "auto"
    dtype: Annotated[
        str, typer.Option(help="Of the weights: auto, float32, bfloat16, float16.", rich_help_panel=_PANEL)
    ] = "auto"
    attention: Annotated[
        str,
        typer.Option(help="auto, eager, sdpa, flex_attention, flash_attention_2.", rich_help_panel=_PANEL),
    ] = "auto"
    quantize: Annotated[
        str,
        typer.Option(
            help="Weights of the backbone in 8bit or 4bit, which makes another index; none; or as the model says.",
            rich_help_panel=_PANEL,
        ),
    ] = "model"

    def load(self, name: str) -> Encoder:
        """The model ``name``, loaded so."""
        from splare_plugins.model import SplareModel

        spread = self.device == SPREAD
        return SplareModel.from_pretrained(
            name,
            device="auto" if spread else self.device,
            device_map="auto" if spread else None,
            dtype=self.dtype,
            attention=self.attention,
            quantization=None if self.quantize == "none" else self.quantize,
        )


USUAL = Loading()


def loading_options(verb: Callable[..., None]) -> Callable[..., None]:
    """Give a verb the options of :class:`Loading`, which it receives as its parameter ``loading``."""
    hints = get_type_hints(verb, include_extras=True)
    own = [
        parameter.replace(annotation=hints[parameter.name])
        for parameter in inspect.signature(verb).parameters.values()
        if parameter.name != "loading"
    ]
    types = get_type_hints(Loading, include_extras=True)
    options = [
        inspect.Parameter(field.name, own[-1].kind, default=field.default, annotation=types[field.name])
        for field in fields(Loading)
    ]

    @wraps(verb)
    def with_options(**arguments: Any) -> None:
        loading = Loading(**{option.name: arguments.pop(option.name) for option in options})
        verb(**arguments, loading=loading)

    with_options.__signature__ = inspect.Signature([*own, *options])  # type: ignore[attr-defined]
    with_options.__annotations__ = {parameter.name: parameter.annotation for parameter in [*own, *options]}
    return with_options
