"""``splare sae``: public sparse autoencoders become heads, and those of one's own are trained."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from splare_plugins.cli.options import Device, Json, Overwrite
from splare_plugins.cli.sae_compare import compare
from splare_plugins.cli.sae_parity import parity
from splare_plugins.cli.sae_states import head_folder, hook_number, open_backbone, text_states
from splare_plugins.cli.sae_train import train
from splare_plugins.config import HEAD_CARD
from splare_plugins.errors import InputError
from splare_plugins.heads.labels import LABELS, read_labels, summary, write_labels

sae = typer.Typer(
    help="Import, inspect, label, list and check public sparse autoencoders; train one; compare two.",
    no_args_is_help=True,
)

FAR = 2.0
FAR_ABOVE_CHANCE = 1.5
SHOWN = ("suite", "layer", "layers_needed", "hook", "base_model", "activation", "scale", "licence", "published_l0")
TRAINED = ("trained_tokens", "explained_variance", "dead_share")
ORIGIN = ("source", "revision", "source_sha256", "sha256")

for verb in (train, compare, parity):
    sae.command()(verb)


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
    folder: Annotated[Path, typer.Argument(help="Folder made by `splare sae import`, or a model folder.")],
    backbone: Annotated[
        str | None, typer.Option(help="Folder or hub id of the model it was trained on, to measure its L0.")
    ] = None,
    text: Annotated[list[str] | None, typer.Option(help="Text to measure the L0 on; may be repeated.")] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Say what an imported SAE is, and with a backbone whether it fires as often as published."""
    from splare_plugins.cli.console import console, report

    folder = head_folder(folder)
    facts = _facts(folder)
    if backbone is None and text:
        raise InputError("--text is what a --backbone reads to measure the L0; name that too, or omit --text")
    if backbone is not None:
        if not text:
            raise InputError("--backbone needs a --text to measure the L0 on; a paragraph of prose will do")
        with console.status(f"running {backbone}"):
            facts |= _measure(folder, backbone, text, device)
        facts["warning"] = _warning(facts)
    report(f"{folder} is an SAE", facts, as_json=as_json)


@sae.command()
def label(
    folder: Annotated[Path, typer.Argument(help="Folder made by `splare sae import`, or a model folder.")],
    exports: Annotated[
        list[Path],
        typer.Argument(help="Explanations exported by Neuronpedia: .jsonl.gz, .jsonl or .json files, or a folder."),
    ],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the labels that the SAE has.")] = False,
    as_json: Json = False,
) -> None:
    """Give the latents of an SAE labels, which `splare explain` shows; of several for one latent the first is kept."""
    from splare_plugins.cli.console import report
    from splare_plugins.heads.importers.neuronpedia import read_neuronpedia
    from splare_plugins.machine.files import read_json

    folder = head_folder(folder)
    card = read_json(folder / HEAD_CARD)
    if card.get("kind") != "sae":
        raise InputError(f"the latents of {folder} are tokens, which are their own labels; only SAEs take others")
    if (folder / LABELS).exists() and not overwrite:
        raise InputError(f"{folder} has labels already; add --overwrite to replace them")
    labels, counts = read_neuronpedia(exports, width=card["width"], layer=hook_number(card))
    write_labels(folder / LABELS, labels)
    report(f"labelled {folder}", {"width": card["width"], **counts.to_dict()}, as_json=as_json)


@sae.command("list")
def list_(as_json: Json = False) -> None:
    """Show the public suites that can be imported, with sizes and licences."""
    from splare_plugins.cli.console import print_json, results
    from splare_plugins.heads.importers.catalogue import GENERIC, PUBLISHED

    if as_json:
        rows = [{**row._asdict(), "converted_bytes": row.size, "command": row.command} for row in PUBLISHED]
        print_json({"published": rows, "formats": GENERIC})
        return
    lines = []
    for row in PUBLISHED:
        size = f"{row.width:,} latents, {row.size / 1e9:.2f} GB"
        lines += [
            f"{row.suite}: {row.backbone}{' (gated)' if row.gated else ''}",
            f"  layers {row.layers}, L0 {row.l0}, {size}, {row.licence}",
            f"  also: {row.others}",
            f"  {row.command}",
        ]
    formats = [f"  {name}: {what}" for name, what in GENERIC.items()]
    note = "NORM: the mean norm of the states that the SAE was trained on (docs/saes.md)."
    text = "\n".join([*lines, "", note, "", "Formats of many others:", *formats])
    results.print(text, markup=False, highlight=False, soft_wrap=True)


def labels_of(folder: Path, width: int) -> str | None:
    """How many latents of the head in ``folder`` have labels, if it has some."""
    table = folder / LABELS
    return summary(read_labels(table, width), width) if table.is_file() else None


def _facts(folder: Path) -> dict[str, Any]:
    from splare_plugins.machine.files import read_json

    card = read_json(folder / HEAD_CARD)
    return {
        "folder": str(folder),
        "width": card.get("width"),
        "d_model": card.get("state_size"),
        "k": card.get("k"),
        **{key: card.get(key) for key in SHOWN + TRAINED + ORIGIN},
        "labels": labels_of(folder, card.get("width", 0)),
        "bytes": sum(file.stat().st_size for file in folder.iterdir()),
    }


def _measure(folder: Path, name: str, texts: list[str], device: str) -> dict[str, Any]:
    """Active latents of a token and what they explain of it, special tokens left out, on the backbone as published."""
    import torch

    from splare_plugins.heads import SparseAutoencoder
    from splare_plugins.training.autoencoder.compare import active_latents
    from splare_plugins.training.drift import explained

    head = SparseAutoencoder.load(folder)
    backbone = open_backbone(
        {**head.card, "kind": head.kind, "width": head.width, "state_size": head.state_size}, name, device
    )
    head = head.place(backbone.device, torch.float32)
    states = text_states(backbone, texts).states
    with torch.inference_mode():
        active = active_latents(head, states)
        within = explained(states - states.mean(0), head.W, active)
    counts = torch.tensor([len(each) for each in active]).float()
    return {
        "measured_l0": round(float(counts.mean()), 1),
        "measured_tokens": len(counts),
        "explained": round(float(within), 3),
        "explained_by_chance": round(float((counts / states.shape[1]).clamp(max=1).mean()), 3),
    }


def _warning(facts: Mapping[str, Any]) -> str | None:
    """What looks like a wrong backbone, layer or scale: another number of latents, or latents of no use.

    The number alone says nothing of an SAE that keeps k latents whatever it is put on; but then the directions of
    these span no more of a state than any others would.
    """
    measured, published = facts["measured_l0"], facts["published_l0"]
    check = "check that backbone, layer and scale are those it was trained with"
    if published and not published / FAR <= measured <= published * FAR:
        return f"{measured} active latents a token where {published} were published; {check}"
    if facts["explained"] < FAR_ABOVE_CHANCE * facts["explained_by_chance"] < 1:
        return (
            f"the active latents explain {facts['explained']} of a token's state, and as many random directions would "
            f"explain {facts['explained_by_chance']}; {check}"
        )
    return None
