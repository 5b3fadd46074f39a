"""``splare export``: a model that runs without torch."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from splare_plugins.cli.options import DEFAULT_MODEL, Json, Overwrite, corpus_source
from splare_plugins.errors import InputError, splare_command


class GraphFormat(StrEnum):
    """What runs an exported model."""

    openvino = "openvino"
    onnx = "onnx"


def export(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to make.")],
    model: Annotated[str, typer.Argument(help="Built-in name, model folder or hub id.")] = DEFAULT_MODEL,
    format: Annotated[GraphFormat, typer.Option(help="What is to run it.")] = GraphFormat.openvino,
    int8: Annotated[
        bool, typer.Option("--int8", help="Weights and activations in 8 bits: faster, smaller, and another index.")
    ] = False,
    calibrate: Annotated[
        list[str] | None,
        typer.Option(help="Corpus of typical texts for --int8; by default a few in six languages."),
    ] = None,
    texts: Annotated[
        int | None, typer.Option(min=8, help="Documents of the corpus that are used.", show_default="128")
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a hub model.")] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Write a model as one graph that openvino or onnxruntime runs, without torch and without this package."""
    from itertools import islice

    from splare_plugins.cli.console import console, report_model
    from splare_plugins.corpus import read_documents
    from splare_plugins.model.export import export_graph

    calibration = None
    if calibrate:
        calibration = [each.content for each in islice(read_documents(corpus_source(calibrate)), texts or 128)]
    elif texts is not None:
        raise InputError("--texts counts documents of a corpus; name it with --calibrate, or omit --texts")
    with console.status(f"exporting {model}"):
        config = export_graph(
            model,
            output,
            format=format.value,
            int8=int8,
            calibration=calibration,
            revision=revision,
            overwrite=overwrite,
        )
    facts = {
        "fingerprint": config.fingerprint(),
        "format": format.value,
        "quantization": config.quantization or "none",
        "megabytes": sum(path.stat().st_size for path in output.rglob("*") if path.is_file()) // 10**6,
        "next": splare_command("index", "lucene", "CORPUS", "-o", "INDEX", "--model", output),
    }
    report_model("exported", output, config, facts, as_json=as_json)
