"""``splare sae``: public sparse autoencoders become heads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from splare_plugins.cli.options import Device, Json, Overwrite
from splare_plugins.errors import InputError

if TYPE_CHECKING:
    from splare_plugins.backbone import Backbone
    from splare_plugins.heads import SparseAutoencoder

sae = typer.Typer(help="Import, inspect and list public sparse autoencoders.", no_args_is_help=True)

FAR = 2.0
SHOWN = ("suite", "layer", "layers_needed", "hook", "base_model", "activation", "scale", "licence", "published_l0")
ORIGIN = ("source", "revision", "source_sha256", "sha256")


@sae.command("import")
def import_(
    source: Annotated[
        str,
        typer.Argument(
            help="Folder or file of one SAE, or hf:org/repo/path@revision, or hf:org/repo#part-of-its-name."
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to make; the cache where left out.")
    ] = None,
    suite: Annotated[str | None, typer.Option(help="Format, where the files alone do not tell.")] = None,
    layer: Annotated[int | None, typer.Option(min=0, help="Layer, where the files do not say.")] = None,
    k: Annotated[int | None, typer.Option("--k", min=1, help="Latents a token, where the files do not say.")] = None,
    input_norm: Annotated[
        float | None, typer.Option(min=0, help="Mean norm of the training states, where the files do not say.")
    ] = None,
    d_model: Annotated[
        int | None, typer.Option(min=1, help="Hidden size of the backbone; an SAE of another size is refused.")
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Convert a published SAE into a head: encoder, biases and thresholds with everything folded in."""
    from splare_plugins.cli.console import console, report
    from splare_plugins.heads.importers import Hints, import_sae

    hints = Hints(layer=layer, k=k, input_norm=input_norm)
    with console.status(f"importing {source}"):
        folder = import_sae(source, output=output, suite=suite, hints=hints, d_model=d_model, overwrite=overwrite)
    report(f"imported {source}", _facts(folder), as_json=as_json)


@sae.command()
def inspect(
    folder: Annotated[Path, typer.Argument(help="Folder made by `splare sae import`.")],
    backbone: Annotated[
        str | None, typer.Option(help="Folder or hub id of the model it was trained on, to measure its L0.")
    ] = None,
    text: Annotated[list[str] | None, typer.Option(help="Text to measure the L0 on; may be repeated.")] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Say what an imported SAE is, and with a backbone whether it fires as often as published."""
    from splare_plugins.cli.console import console, report

    facts = _facts(folder)
    if backbone is not None:
        if not text:
            raise InputError("--backbone needs a --text to measure the L0 on; a paragraph of prose will do")
        with console.status(f"running {backbone}"):
            facts |= _measure(folder, backbone, text, device)
        facts["warning"] = _warning(facts["published_l0"], facts["measured_l0"])
    report(f"{folder} is an SAE", facts, as_json=as_json)


@sae.command("list")
def list_(as_json: Json = False) -> None:
    """Show the public suites that can be imported, with sizes and licences."""
    from rich.table import Table

    from splare_plugins.cli.console import print_json, results
    from splare_plugins.heads.importers.catalogue import GENERIC, PUBLISHED

    if as_json:
        rows = [{**row._asdict(), "converted_bytes": row.size} for row in PUBLISHED]
        print_json({"published": rows, "formats": GENERIC})
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("suite", "backbone", "layers", "latents", "size", "licence"):
        table.add_column(name, overflow="fold", justify="right" if name in ("latents", "size") else "left")
    for row in PUBLISHED:
        backbone = f"{row.backbone}{' (gated)' if row.gated else ''}"
        table.add_row(row.suite, backbone, row.layers, f"{row.width:,}", f"{row.size / 1e9:.2f} GB", row.licence)
    results.print(table, highlight=False)
    lines = [f"  splare sae import {row.source} -o FOLDER" for row in PUBLISHED]
    formats = [f"  {name}: {what}" for name, what in GENERIC.items()]
    text = "\n".join(["", "One of each:", *lines, "", "Formats of many others:", *formats])
    results.print(text, markup=False, highlight=False, soft_wrap=True)


def _facts(folder: Path) -> dict[str, Any]:
    from splare_plugins.heads.importers.fold import read_json
    from splare_plugins.heads.record import CARD

    if not (folder / CARD).is_file():
        raise InputError(f"{folder} is no imported SAE: it has no {CARD}; make one with `splare sae import`")
    card = read_json(folder / CARD)
    return {
        "folder": str(folder),
        "width": card.get("width"),
        "d_model": card.get("state_size"),
        "k": card.get("k"),
        **{key: card.get(key) for key in SHOWN + ORIGIN},
        "bytes": sum(file.stat().st_size for file in folder.iterdir()),
    }


def _measure(folder: Path, backbone: str, texts: list[str], device: str) -> dict[str, Any]:
    """Mean number of active latents a token that is no special token, on the causal backbone as published."""
    import torch

    from splare_plugins.heads import SparseAutoencoder

    head = SparseAutoencoder.load(folder)
    chosen = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    model = _causal_backbone(head, backbone, chosen)
    head = head.place(chosen, torch.float32)
    counts = [_active(head, model, text) for text in texts]
    tokens = sum(len(part) for part in counts)
    if not tokens:
        raise InputError("the --text has no token besides special ones; give a longer one")
    return {"measured_l0": round(float(torch.cat(counts).float().mean()), 1), "measured_tokens": tokens}


def _causal_backbone(head: SparseAutoencoder, name: str, device: Any) -> Backbone:
    import torch
    from transformers import AutoConfig
    from transformers.utils import logging as transformers_logging

    from splare_plugins.backbone import load_backbone
    from splare_plugins.config import SplareConfig

    transformers_logging.disable_progress_bar()
    try:
        settings = AutoConfig.from_pretrained(name).get_text_config()
    except (OSError, ValueError) as error:
        raise InputError(f"cannot load the backbone {name}: {error}") from error
    needed = int(head.card["layers_needed"])
    if settings.hidden_size != head.state_size:
        raise InputError(
            f"this SAE reads states of size {head.state_size}, but those of {name} have size {settings.hidden_size}; "
            f"it was trained on {head.card.get('base_model') or 'another model'}"
        )
    if settings.num_hidden_layers < needed:
        raise InputError(f"this SAE needs {needed} layers, but {name} has {settings.num_hidden_layers}")
    config = SplareConfig(
        name=name, revision="published", backbone=name, width=head.width, layer=needed - 1, bidirectional=False
    )
    return load_backbone(config, Path(), device=device, dtype=torch.float32)


def _active(head: SparseAutoencoder, backbone: Backbone, text: str) -> Any:
    """Active latents of each token of ``text`` that is its own."""
    import torch

    (tokens,) = backbone.tokenize([text], "", 1024)
    if not tokens.keep.any():
        return torch.zeros(0)
    with torch.inference_mode():
        states, _ = backbone([tokens])
        own = states[torch.from_numpy(tokens.keep).to(states.device)]
        counts = torch.cat([(part @ head.W.T + head.b > head.theta).sum(1) for part in own.split(64)])
    return counts if head.k is None else counts.clamp(max=head.k)


def _warning(published: float | None, measured: float) -> str | None:
    if not published or published / FAR <= measured <= published * FAR:
        return None
    return (
        f"{measured} active latents a token where {published} were published; check that backbone, layer and scale "
        "are those it was trained with"
    )
