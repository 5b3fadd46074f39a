"""Options that several verbs share, and how a model is loaded by them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, is_dataclass, replace
from enum import StrEnum
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import typer

from splare_plugins.errors import InputError

if TYPE_CHECKING:
    from splare_plugins.corpus.fields import Fields
    from splare_plugins.model.encoder import Encoder

# Written out here because importing the package of the built-in model for it would be slow.
DEFAULT_MODEL = "splare-e5-small"
SPREAD = "spread"
_READING = "Reading the data"
QUOTING = "Quotation marks around cells of a TSV file: csv removes them, none keeps them."

Model = Annotated[str, typer.Option("--model", "-M", help="Built-in name, model folder, hub id, or st:FOLDER.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
Json = Annotated[bool, typer.Option("--json", help="Print one line of JSON.")]
TopKOption = Annotated[
    str, typer.Option("--top-k", help="Latents kept of a text: a number, 'model' for the model's own, 'none' for all.")
]
Steer = Annotated[
    str,
    typer.Option(
        "--steer",
        help="Change latents of the query: f7336=0 switches one off, f2499=2 doubles it, f12=@80 puts it in with that "
        "impact; parted by commas.",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what stands at the output.")]


def fields_option(about: str, default: str | None = None) -> Any:
    """An option about how data are read."""
    return typer.Option(help=about, rich_help_panel=_READING, show_default=default or False)


class Duplicates(StrEnum):
    """What to do with a document whose id came before."""

    error = "error"
    first = "first"


class Marks(StrEnum):
    """What quotation marks around the cells of a TSV file mean."""

    csv = "csv"
    none = "none"


OnDuplicateOption = Annotated[
    Duplicates, typer.Option(help="A document id that came before: stop, or keep the first document and count.")
]


@dataclass(frozen=True, kw_only=True)
class DocumentFields:
    """Which fields of a corpus are read; the fields are the options."""

    id_field: Annotated[str | None, fields_option("Field or column of the id, where it has no usual name.")] = None
    text_field: Annotated[
        str | None, fields_option("Field or column of the text; several, as in headings,body, are joined.")
    ] = None
    title_field: Annotated[str | None, fields_option("Field or column of the title.", default="title")] = None
    columns: Annotated[
        str | None, fields_option("Names of a file's columns where it has no header, such as id,title,text.")
    ] = None
    quoting: Annotated[Marks | None, fields_option(QUOTING, default="by the header")] = None

    @property
    def names(self) -> Fields:
        """As readers take them."""
        flags = {
            **{"id": "--id-field", "text": "--text-field", "title": "--title-field", "columns": "--columns"},
            "quoting": "--quoting",
            "duplicate": "--on-duplicate first",
        }
        named = {"id": self.id_field, "text": self.text_field, "title": self.title_field}
        return to_fields(flags, self.columns, self.quoting, **named)


@dataclass(frozen=True, kw_only=True)
class QueryFields:
    """Which fields of queries are read; the fields are the options."""

    id_field: Annotated[str | None, fields_option("Field or column of the id, where it has no usual name.")] = None
    text_field: Annotated[
        str | None,
        typer.Option(
            "--field",
            "--text-field",
            help="Field, column or tag of the text, such as description; several are joined: title,description.",
            rich_help_panel=_READING,
        ),
    ] = None
    columns: Annotated[
        str | None, fields_option("Names of a file's columns where it has no header, such as id,language,text.")
    ] = None
    quoting: Annotated[Marks | None, fields_option(QUOTING, default="none")] = None

    @property
    def names(self) -> Fields:
        """As readers take them."""
        flags = {"id": "--id-field", "text": "--field", "columns": "--columns", "quoting": "--quoting"}
        return to_fields(flags, self.columns, self.quoting, id=self.id_field, text=self.text_field)


def to_fields(flags: dict[str, str], columns: str | None, quoting: Marks | None, **names: Any) -> Fields:
    """Options as readers take them."""
    from splare_plugins.corpus.fields import Fields

    named = tuple(name.strip() for name in columns.split(",")) if columns else ()
    return Fields(columns=named, quoting=quoting.value if quoting else None, flags=flags, **names)


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


def parse_settings(pairs: list[str]) -> dict[str, Any]:
    """The values of ``--setting``: numbers where they are numbers.

    Raises:
        InputError: for one that is not a name and a value, or that is given twice.
    """
    settings: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.isidentifier() or not value:
            raise InputError(f"--setting takes NAME=VALUE, such as query_cut=20, not {pair!r}")
        if name in settings:
            raise InputError(f"--setting {name} is given twice; keep one of them")
        settings[name] = value
        for kind in (float, int):
            with suppress(ValueError):
                settings[name] = kind(value)
    return settings


def corpus_source(corpus: list[str]) -> str | list[Path]:
    """One corpus, which need not be a file, or the several files of one."""
    return corpus[0] if len(corpus) == 1 else [Path(name) for name in corpus]


def _loading_option(about: str) -> Any:
    return typer.Option(help=about, rich_help_panel="Loading the model")


@dataclass(frozen=True, kw_only=True)
class Computing:
    """In what a model is computed, wherever it runs; the fields are the options."""

    dtype: Annotated[str, _loading_option("Of the weights: auto, float32, bfloat16, float16.")] = "auto"
    runtime: Annotated[str, _loading_option("What computes it on a processor: auto, torch, openvino.")] = "auto"
    attention: Annotated[str, _loading_option("auto, eager, sdpa, flex_attention, flash_attention_2, packed.")] = (
        "auto"
    )
    quantize: Annotated[
        str,
        _loading_option(
            "Weights of the backbone in 8bit or 4bit, or all in int8 on a processor, which makes another index; "
            "none; or as the model says."
        ),
    ] = "model"

    def arguments(self) -> dict[str, Any]:
        """As ``SplareModel.from_pretrained`` takes them."""
        quantization = None if self.quantize == "none" else self.quantize
        return {
            "dtype": self.dtype,
            "runtime": self.runtime,
            "attention": self.attention,
            "quantization": quantization,
        }


@dataclass(frozen=True, kw_only=True)
class Loading(Computing):
    """How a model is loaded; the fields are the options."""

    device: Annotated[str, _loading_option("auto, cpu, cuda, cuda:1, mps; spread: over all devices there are.")] = (
        "auto"
    )


def load_model(name: str, loading: Loading, query_encoder: str = "model") -> Encoder:
    """The model that ``SplareModel.from_pretrained`` finds as ``name``, with a line that says what is going on."""
    from splare_plugins.cli.console import console

    with console.status(f"loading {name}"):
        return load_quietly(name, loading, query_encoder)


def load_quietly(name: str, loading: Loading, query_encoder: str = "model") -> Encoder:
    """Likewise, without a line, as for a process that has no terminal."""
    from splare_plugins.model import SplareModel
    from splare_plugins.model.find import lasting_name

    spread = loading.device == SPREAD
    encoder = SplareModel.from_pretrained(
        name,
        device="auto" if spread else loading.device,
        device_map="auto" if spread else None,
        query_encoder=query_encoder,
        **loading.arguments(),
    )
    # What is made with the model remembers where it lies.
    encoder.config = replace(encoder.config, location=lasting_name(name))
    return encoder


def parse_shard(value: str) -> tuple[int, int]:
    """The two numbers of ``i/n``."""
    number, slash, count = value.partition("/")
    if not (slash and number.isdigit() and count.isdigit() and 1 <= int(number) <= int(count)):
        raise InputError(f"--shard takes i/n with i from 1 to n, such as 2/4, not {value!r}")
    return int(number), int(count)


def expand_options(verb: Callable[..., None]) -> Callable[..., None]:
    """Give a verb the fields of its parameters that are dataclasses, such as :class:`Loading`, as options."""
    options = list(_options(verb))

    @wraps(verb)
    def with_options(**arguments: Any) -> None:
        _call(verb, arguments)

    with_options.__signature__ = Signature(options)  # type: ignore[attr-defined]
    with_options.__annotations__ = {option.name: option.annotation for option in options}
    return with_options


def _options(function: Callable[..., Any]) -> Iterator[Parameter]:
    hints = get_type_hints(function, include_extras=True)
    for parameter in signature(function).parameters.values():
        hint = hints[parameter.name]
        if is_dataclass(hint):
            yield from _options(hint)  # type: ignore[arg-type]
        else:
            yield parameter.replace(kind=Parameter.KEYWORD_ONLY, annotation=hint)


def _call(function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    hints = get_type_hints(function)
    names = signature(function).parameters
    return function(
        **{name: _call(hints[name], arguments) if is_dataclass(hints[name]) else arguments[name] for name in names}
    )
