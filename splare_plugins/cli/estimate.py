"""``splare estimate``: what a corpus will cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from splare_plugins.cli.options import DEFAULT_MODEL, Json

if TYPE_CHECKING:
    from splare_plugins.model.describe import ModelDescription


def estimate(
    documents: Annotated[str, typer.Option(help="How many: 8800000, or 8.8M; k, M and B count as usual.")],
    engine: Annotated[str, typer.Option(help="lucene, pisa, seismic, memory or opensearch.")] = "lucene",
    model: Annotated[
        str, typer.Option("--model", "-M", help="Built-in name, model folder or hub id.")
    ] = DEFAULT_MODEL,
    tokens: Annotated[
        float, typer.Option(min=1, help="Mean length of a document; no more than the limit counts.")
    ] = 200,
    latents: Annotated[
        float | None, typer.Option(min=1, help="Of a document.", show_default="the model's top-k")
    ] = None,
    query_latents: Annotated[
        float | None, typer.Option(min=1, help="Of a query.", show_default="the model's top-k")
    ] = None,
    as_json: Json = False,
) -> None:
    """Estimate bytes, hours, memory and latency of an index before it is made.

    The formulas are fitted to measurements of up to a million documents on one machine: docs/capacity.md has them, and
    how far they are off.
    """
    from splare_plugins.cli.console import print_facts, print_json
    from splare_plugins.model.describe import describe_model
    from splare_plugins.retrieval.estimate import Load, constants, estimate_encoding, estimate_index, parse_count

    found = describe_model(model)
    config = found.config
    load = Load(
        documents=parse_count(documents),
        latents=latents or config.document.top_k or 400,
        query_latents=query_latents or config.query.top_k or 40,
        tokens=min(tokens, config.document.max_length),
    )
    index = estimate_index(engine, load)
    encoding = estimate_encoding(_flops(found), load)
    limit = constants()["engines"][engine]["measured_up_to"]
    if as_json:
        beyond = load.documents > limit
        print_json({"postings": load.postings, **encoding, **index, "beyond_measurements": beyond})
        return
    gpu = {"on_an_H200": _hours(encoding["gpu_hours"])}
    cores = {
        f"on_a_core,_{name.removeprefix('core_hours_')}": _hours(value)
        for name, value in encoding.items()
        if name.startswith("core_hours")
    }
    print_facts(
        f"encoding {load.documents:,} documents of {load.tokens:.0f} tokens with {config.name}",
        {**gpu, **cores, "Parquet": _bytes(encoding["encoded_bytes"])},
    )
    shown: dict[str, Any] = {"postings": f"{load.postings:,.0f}", "on_disk": _bytes(index["index_bytes"])}
    if "build_cpu_hours" in index:
        shown["building,_one_core"] = _hours(index["build_cpu_hours"])
    for name, title in (("build_memory_bytes", "memory_for_it"), ("search_memory_bytes", "memory_to_search")):
        if name in index:
            shown[title] = _bytes(index[name])
    shown["a_query_without_encoding,_median"] = f"{index['latency_ms']:,.1f} ms"
    print_facts(f"an index of {engine}", shown)
    if load.documents > limit:
        typer.echo(f"measured up to {limit:,} documents; beyond, this continues the line")


def _flops(found: ModelDescription) -> float:
    """Of the model for a token, counted on its shapes alone."""
    import torch
    from transformers import AutoModel

    from splare_plugins.backbone.load import cut_layers
    from splare_plugins.backbone.source import find_backbone
    from splare_plugins.model.assemble import backbone_settings
    from splare_plugins.retrieval.estimate import flops_per_token

    source = find_backbone(found.config, found.folder, local_files_only=False)
    settings = backbone_settings(source)
    cut_layers(settings, found.config.layer, source.name)
    with torch.device("meta"):
        network = AutoModel.from_config(settings)
    layers = (each for name, each in network.named_modules() if not name.startswith("pooler"))  # loaded without it
    linear = sum(each.weight.numel() for each in layers if isinstance(each, torch.nn.Linear))
    return flops_per_token(found.config, linear, settings.hidden_size)


def _bytes(value: float) -> str:
    unit, name = next((each for each in ((1e12, "TB"), (1e9, "GB")) if value >= each[0]), (1e6, "MB"))
    return f"{value / unit:,.1f} {name}"


def _hours(value: float) -> str:
    return f"{60 * value:,.1f} minutes" if value < 1 else f"{value:,.1f} hours"
