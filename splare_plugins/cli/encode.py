"""``splare encode``: a corpus to Parquet parts of impacts."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from splare_plugins.cli.options import (
    DEFAULT_MODEL,
    SPREAD,
    DocumentFields,
    Duplicates,
    Json,
    Loading,
    Model,
    OnDuplicateOption,
    TopKOption,
    corpus_source,
    expand_options,
    load_model,
    load_quietly,
    parse_shard,
    parse_top_k,
)
from splare_plugins.errors import InputError

if TYPE_CHECKING:
    from splare_plugins.model.encoder import Encoder
    from splare_plugins.retrieval.workers import Workers


@expand_options
def encode(
    corpus: Annotated[
        list[str], typer.Argument(help="BEIR folder; JSONL, TSV, CSV or Parquet files; irds:NAME; mteb:TASK.")
    ],
    output: Annotated[
        str,
        typer.Option("--output", "-o", help="Folder of the encoded corpus, or an address such as s3://bucket/folder."),
    ],
    fields: DocumentFields,
    loading: Loading,
    model: Model = DEFAULT_MODEL,
    shard: Annotated[str, typer.Option(help="i/n: encode part i of n, on as many machines; from 1/n to n/n.")] = "1/1",
    workers: Annotated[
        int | None,
        typer.Option(
            help="Processes on this machine; its GPUs, or else its cores, are shared out among them.",
            show_default="1; with --ray one a GPU",
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(help="Encode on the Ray at this address, such as auto, with --workers actors; local starts one."),
    ] = None,
    part_size: Annotated[int, typer.Option(help="Documents of a part; what a killed run may have to redo.")] = 2000,
    top_k: TopKOption = "model",
    store_text: Annotated[
        bool, typer.Option("--store-text", help="Keep titles and texts, for engines that store them.")
    ] = False,
    on_duplicate: OnDuplicateOption = Duplicates.error,
    as_json: Json = False,
) -> None:
    """Encode a corpus once, to index it many times.

    A run that was killed goes on where it stopped when the same command is given again.
    """
    from splare_plugins.cli.console import progress, report
    from splare_plugins.retrieval.indexing import encode_shard

    number, count = parse_shard(shard)
    with _makers(model, loading, workers, ray) as makers, progress("encoding") as advance:
        summary = encode_shard(
            makers,
            corpus_source(corpus),
            output,
            shard=number,
            shards=count,
            part_size=part_size,
            top_k=parse_top_k(top_k),
            store_text=store_text,
            on_duplicate=on_duplicate.value,
            fields=fields.names,
            on_progress=advance,
        )
    report(f"encoded into {output}", summary.to_dict(), as_json=as_json)


def _makers(
    model: str, loading: Loading, workers: int | None, ray: str | None
) -> AbstractContextManager[Encoder | Workers]:
    """The model, or processes or actors that load it."""
    if ray is None and workers in (None, 1):
        return nullcontext(load_model(model, loading))
    if loading.device == SPREAD or ":" in loading.device:
        raise InputError(
            f"--device {loading.device} leaves nothing to share out; omit it, or omit --workers and --ray"
        )
    load = partial(load_quietly, model, loading)
    if ray is not None:
        from splare_plugins.retrieval.ray_actors import ray_workers

        return ray_workers(load, ray, workers)
    from splare_plugins.retrieval.processes import local_workers

    return local_workers(load, 1 if workers is None else workers)
