"""``splare assemble``: a model from a backbone and a sparse autoencoder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from splare_plugins.cli.options import Json, Overwrite
from splare_plugins.errors import splare_command


def assemble(
    backbone: Annotated[str, typer.Option(help="Hub id, transformers folder or GGUF file.")],
    sae: Annotated[str, typer.Option(help="Folder made by `splare sae import`, or a source that it takes.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Model folder to make.")],
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a hub backbone.")] = None,
    layer: Annotated[int | None, typer.Option(min=0, help="Layer, where the SAE's card does not say.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the model; made of its parts where left out.")] = None,
    max_length: Annotated[int | None, typer.Option(help="Tokens kept of a text; 512 where left out.")] = None,
    causal: Annotated[bool, typer.Option("--causal", help="Leave a decoder's attention causal.")] = False,
    copy_backbone: Annotated[
        bool | None,
        typer.Option(
            "--copy-backbone/--reference-backbone",
            help="Take the files of a backbone on disk along, or name their place, which only this machine has.",
            show_default="those on disk",
        ),
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Put a published SAE on the backbone it was trained on; `splare calibrate` readies the result for an index."""
    from splare_plugins.cli.console import console, report_model
    from splare_plugins.model.assemble import assemble as put_together

    with console.status(f"assembling {output}"):
        config = put_together(
            backbone,
            sae,
            output,
            revision=revision,
            layer=layer,
            name=name,
            max_length=max_length,
            bidirectional=not causal,
            copy_backbone=copy_backbone,
            overwrite=overwrite,
        )
    facts = {
        "fingerprint": config.fingerprint(),
        "backbone": config.backbone,
        "backbone_revision": config.backbone_revision,
        "layer": config.layer,
        "width": config.width,
        "next": splare_command("calibrate", output, "BEIR-FOLDER"),
    }
    report_model("assembled", output, config, facts, as_json=as_json)
