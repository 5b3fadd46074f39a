"""``splare encode``: a corpus to Parquet parts of impacts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from splare_plugins.cli.options import (
    DEFAULT_MODEL,
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
    parse_top_k,
)
from splare_plugins.errors import InputError


@expand_options
def encode(
    corpus: Annotated[list[str], typer.Argument(help="BEIR folder; JSONL, TSV, CSV or Parquet files; irds:NAME.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the encoded corpus.")],
    fields: DocumentFields,
    loading: Loading,
    model: Model = DEFAULT_MODEL,
    shard: Annotated[str, typer.Option(help="i/n: encode part i of n, on as many machines; from 1/n to n/n.")] = "1/1",
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

    number, count = _shard(shard)
    loaded = load_model(model, loading)
    with progress("encoding") as advance:
        summary = encode_shard(
            loaded,
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


def _shard(value: str) -> tuple[int, int]:
    number, slash, count = value.partition("/")
    if not (slash and number.isdigit() and count.isdigit() and 1 <= int(number) <= int(count)):
        raise InputError(f"--shard takes i/n with i from 1 to n, such as 2/4, not {value!r}")
    return int(number), int(count)
