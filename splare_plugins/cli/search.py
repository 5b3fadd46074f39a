"""``splare search``: queries against an index, into a TREC run."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from splare_plugins.cli.index_model import IndexModel, QueryEncoderOption, load_query_encoder
from splare_plugins.cli.options import (
    Json,
    Loading,
    QueryFields,
    Steer,
    TopKOption,
    expand_options,
    parse_settings,
    parse_top_k,
)
from splare_plugins.cli.places import engine_of, require_index
from splare_plugins.errors import InputError
from splare_plugins.machine.places import without_password


class QueryForm(StrEnum):
    """Of a search in OpenSearch."""

    neural_sparse = "neural_sparse"
    rank_feature = "rank_feature"


@expand_options
def search(
    index: Annotated[
        str,
        typer.Argument(
            help="Folder of the index, or in OpenSearch http://host:9200/name; with --index the engine's name."
        ),
    ],
    queries: Annotated[
        str,
        typer.Argument(
            help="BEIR folder; JSONL, TSV or CSV of queries; topics of TREC or NTCIR; irds:NAME; mteb:TASK."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="TREC run to write.")],
    fields: QueryFields,
    loading: Loading,
    k: Annotated[int, typer.Option("-k", min=1, help="Most documents per query.")] = 1000,
    name: Annotated[str | None, typer.Option("--index", "-i", help="The engine's index of this name.")] = None,
    url: Annotated[
        str | None,
        typer.Option(help="With --index, the cluster that holds it.", show_default="$OPENSEARCH_URL, or 9200"),
    ] = None,
    form: Annotated[
        QueryForm | None,
        typer.Option(
            help="OpenSearch's query: rank_feature needs no plugin and gives the same scores.",
            show_default="neural_sparse",
        ),
    ] = None,
    ca_certs: Annotated[Path | None, typer.Option(help="OpenSearch: PEM file of certificates to trust.")] = None,
    aws_region: Annotated[str | None, typer.Option(help="OpenSearch: sign requests for AWS in this region.")] = None,
    model: IndexModel = None,
    query_encoder: QueryEncoderOption = "model",
    engine: Annotated[
        str | None,
        typer.Option(help="Engine that the index was made with.", show_default="told by the index"),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=VALUE of the engine's search, such as query_cut=20 of Seismic (see `splare tune`); may be "
            "repeated."
        ),
    ] = None,
    remove_query: Annotated[
        bool, typer.Option("--remove-query", help="Leave out the document with the query's id (ArguAna, Quora).")
    ] = False,
    top_k: TopKOption = "model",
    steering: Steer = "",
    tag: Annotated[str, typer.Option(help="Name of the run, its last column.")] = "splare",
    as_json: Json = False,
) -> None:
    """Search an index with many queries: `search FOLDER QUERIES`, or `search opensearch QUERIES --index NAME`.

    The model is the one that made the index; any other is refused. Documents that a query's excluded_ids name, as
    BRIGHT has them, do not answer it.
    """
    import time

    from splare_plugins.cli.console import progress, report, warn
    from splare_plugins.corpus import ReadCounts, read_queries, write_run
    from splare_plugins.engines import get_engine
    from splare_plugins.machine.folders import require_no_input
    from splare_plugins.retrieval.indexing import most_left_out, query_impacts, search_queries, without_left_out
    from splare_plugins.steering import parse_steering, without_effect

    if output.is_dir():
        raise InputError(f"{output} is a folder; name the file of the run, such as {output / 'run.trec'}")
    require_no_input(output, queries)
    if name is None and Path(index).is_dir() and output.resolve().is_relative_to(Path(index).resolve()):
        raise InputError(f"{output} lies in the index {index}, where only its own files belong; choose another place")
    kept, counts, cut, weights = parse_top_k(top_k), ReadCounts(), list[int](), parse_steering(steering)
    asked = read_queries(queries, counts=counts, fields=fields.names)
    if url is not None and name is None:
        raise InputError("--url names a cluster and wants --index, the name of the index there")
    if name is not None:
        if engine not in (None, index):
            raise InputError(f"with --index the first word is the engine, {index}; omit --engine {engine}")
        engine, index = index, f"{url.rstrip('/')}/{name}" if url else name
    if name is None:
        require_index(index, engine)
    engine = engine or engine_of(index)
    options: dict[str, object] = {"form": form.value} if form else {}
    if ca_certs or aws_region:
        options["connection"] = {"ca_certs": ca_certs, "aws_region": aws_region}
    settings = parse_settings(setting or [])
    if settings and engine == "opensearch":
        raise InputError("--setting is for engines whose searcher has settings; OpenSearch's are --form and its like")
    if options and engine != "opensearch":
        raise InputError(
            f"--form, --ca-certs and --aws-region are for OpenSearch, and the engine is {engine}; omit them"
        )
    shown = name or without_password(index)
    with get_engine(engine).searcher(index, **options, **settings) as searcher:
        loaded = load_query_encoder(searcher.config, model, query_encoder, loading, f"the index at {shown}")
        begin = time.perf_counter()

        with progress("encoding queries", len(asked)) as advance:
            impacts = query_impacts(loaded, asked, top_k=kept, on_progress=advance, on_truncated=cut.append)
        encoded = time.perf_counter()
        with progress("searching", len(asked)) as advance:
            depth = k + most_left_out(asked, remove_query=remove_query)
            qids = [query.qid for query in asked]
            run = search_queries(searcher, qids, impacts, depth, weights=weights, on_progress=advance)
        searched = time.perf_counter()
    run = without_left_out(run, asked, k, remove_query=remove_query)
    write_run(output, run, tag)
    facts = {
        "queries": len(asked),
        "empty": counts.empty,
        "cleaned": counts.cleaned,
        "truncated": sum(cut),
        "without_hits": sum(not hits.docids for hits in run.values()),
        "encoding_seconds": round(encoded - begin, 3),
        "search_seconds": round(searched - encoded, 3),
    }
    if idle := without_effect(impacts, weights):
        warn(f"no query has {', '.join(idle)}, so this part of --steer changes nothing; @80 would put a latent in")
    report(f"run written to {output}", facts, as_json=as_json)
