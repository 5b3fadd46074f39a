"""``splare sae parity``: an imported SAE beside its suite's own library, and beside what Neuronpedia shows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from splare_plugins.cli.options import Device, Json
from splare_plugins.cli.sae_states import head_folder, hook_number, open_backbone, text_states
from splare_plugins.config import HEAD_CARD
from splare_plugins.errors import InputError

if TYPE_CHECKING:
    from splare_plugins.backbone import Backbone
    from splare_plugins.heads import SparseAutoencoder
    from splare_plugins.heads.importers.fetch import Located
    from splare_plugins.heads.importers.neuronpedia_activations import Shown
    from splare_plugins.heads.importers.suites import Library


def parity(
    folder: Annotated[Path, typer.Argument(help="Folder made by `splare sae import`, or a model folder.")],
    backbone: Annotated[str, typer.Option(help="Folder or hub id of the model it was trained on.")],
    text: Annotated[list[str] | None, typer.Option(help="Text to compare on; may be repeated.")] = None,
    neuronpedia: Annotated[
        list[Path] | None, typer.Option(help="Activations exported by Neuronpedia: files or folder; may be repeated.")
    ] = None,
    source: Annotated[str | None, typer.Option(help="Where the imported files are now, if they moved.")] = None,
    tolerance: Annotated[
        float, typer.Option(min=0, help="Largest difference, as a share of the library's largest activation.")
    ] = 1e-4,
    limit: Annotated[int, typer.Option(min=1, help="First texts of Neuronpedia's export.")] = 20,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Compare activations with those of the suite's own library on the same text; a difference is exit status 1.

    SAEs of SAELens and sparsify are loaded by these libraries from the files that were imported, and both read the
    same states. With --neuronpedia, activations that it shows are put beside ours, without a verdict: it computes them
    in whatever precision the SAE was uploaded with.
    """
    from splare_plugins.cli.console import console, print_facts, print_json, print_table
    from splare_plugins.heads import SparseAutoencoder
    from splare_plugins.heads.importers.parity import files_of
    from splare_plugins.machine.files import read_json

    if not text and not neuronpedia:
        raise InputError("nothing to compare on; give a --text, or Neuronpedia's activations with --neuronpedia")
    folder = head_folder(folder)
    card = read_json(folder / HEAD_CARD)
    if card.get("kind") != "sae":
        raise InputError(f"the latents of {folder} are tokens; only SAEs come from a suite")
    files = files_of(folder, source) if text else None
    with console.status(f"running {backbone}"):
        base = open_backbone(card, backbone, device)
        head = SparseAutoencoder.load(folder).float().to(base.device)
        facts = _beside_library(head, base, text, *files, tolerance) if text and files else {}
        rows, split = _beside_neuronpedia(head, base, neuronpedia, card, limit) if neuronpedia else ([], 0)
    if as_json:
        print_json({**facts, "neuronpedia": rows, "split_otherwise": split})
    else:
        if facts:
            print_facts(f"{folder} beside {facts['library']}", facts)
        if neuronpedia:
            names = ("latent", "token", "neuronpedia", "ours", "difference", "largest_difference")
            shown = ([str(row[name]) for name in names] for row in rows)
            print_table("beside Neuronpedia", [name.replace("_", " ") for name in names], shown)
            if split:
                console.print(f"{split} texts have a token that is none of this backbone's, and are left out")
    if facts and not facts["agrees"]:
        raise typer.Exit(1)


def _beside_library(
    head: SparseAutoencoder, base: Backbone, texts: list[str], located: Located, library: Library, tolerance: float
) -> dict[str, Any]:
    from importlib.metadata import packages_distributions, version

    from splare_plugins.heads.importers.parity import compare, open_library

    read = text_states(base, texts)
    found = compare(head, open_library(located, library), read.states.float(), tolerance=tolerance)
    package = packages_distributions()[library.package][0]
    return {
        "library": f"{package} {version(package)}",
        "tokens": len(read.tokens),
        "active": found.active,
        "largest_difference": float(f"{found.absolute:.3g}"),
        "of_largest_activation": float(f"{found.relative:.3g}"),
        "token": read.tokens[found.token],
        "token_number": found.token,
        "latent": found.latent,
        "ours": round(found.ours, 6),
        "theirs": round(found.library, 6),
        "ties": found.ties,
        "tolerance": tolerance,
        "agrees": found.relative <= tolerance,
    }


def _beside_neuronpedia(
    head: SparseAutoencoder, base: Backbone, exports: list[Path], card: dict[str, Any], limit: int
) -> tuple[list[dict[str, Any]], int]:
    """A row for each text at the token where Neuronpedia's value is largest; and how many were split otherwise."""
    from splare_plugins.heads.importers.neuronpedia_activations import read_activations

    shown = read_activations(exports, width=head.width, layer=hook_number(card), limit=limit)
    rows = [_row(head, base, each) for each in shown]
    return [row for row in rows if row is not None], rows.count(None)


def _row(head: SparseAutoencoder, base: Backbone, shown: Shown) -> dict[str, Any] | None:
    import numpy as np
    import torch

    from splare_plugins.backbone import Tokens
    from splare_plugins.heads.importers.neuronpedia_activations import token_ids
    from splare_plugins.heads.importers.parity import activations

    ids = token_ids(base.tokenizer, shown.tokens)
    if ids is None:
        return None
    count = len(ids)
    tokens = Tokens(np.array(ids), np.ones(count, dtype=bool), np.zeros((count, 2), dtype=np.int64), False)
    with torch.inference_mode():
        states, _ = base([tokens])
        ours = activations(head, states.float())[:, shown.latent].cpu()
    theirs = torch.tensor(shown.values)
    peak = int(theirs.argmax())
    return {
        "latent": shown.latent,
        "token": shown.tokens[peak],
        "neuronpedia": round(float(theirs[peak]), 4),
        "ours": round(float(ours[peak]), 4),
        "difference": round(float(ours[peak] - theirs[peak]), 4),
        "largest_difference": round(float((ours - theirs).abs().max()), 4),
    }
