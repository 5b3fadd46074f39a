"""The options that say how a model is loaded, the same for every verb that runs one."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

if TYPE_CHECKING:
    from splare_plugins.model.encoder import Encoder

SPREAD = "spread"
_PANEL = "Loading the model"


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
        from splare_plugins.model.splare import SplareModel

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
