"""``splare tune``: settings of an index that are fast and still find nearly all of the best documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from splare_plugins.cli.index_model import IndexModel, QueryEncoderOption, load_query_encoder
from splare_plugins.cli.options import Json, Loading, QueryFields, expand_options
from splare_plugins.errors import InputError, splare_command
from splare_plugins.machine.places import without_password

if TYPE_CHECKING:
    from splare_plugins.retrieval.tuning import Trial

_SHOWN = 8


@expand_options
def tune(
    index: Annotated[str, typer.Argument(help="Folder of the index, or http://host:9200/name in OpenSearch.")],
    queries: Annotated[
        str,
        typer.Argument(
            help="BEIR folder; JSONL, TSV or CSV of queries; topics of TREC or NTCIR; irds:NAME; mteb:TASK."
        ),
    ],
    fields: QueryFields,
    loading: Loading,
    recall: Annotated[float, typer.Option(help="Share of the best documents that have to be found.")] = 0.99,
    k: Annotated[int, typer.Option("-k", min=1, help="Best documents of a query that count.")] = 10,
    sample: Annotated[int, typer.Option(min=1, help="Most queries that are tried, evenly spread.")] = 200,
    cut: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Try queries of so many latents; may be repeated.", show_default="by the engine"),
    ] = None,
    model: IndexModel = None,
    query_encoder: QueryEncoderOption = "model",
    engine: Annotated[
        str | None,
        typer.Option(help="Engine that the index was made with.", show_default="told by the index"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Find the fastest settings of an index that still find the best documents.

    What is best is what the same index answers exactly to whole queries. Tried are the settings that an engine has
    (Seismic's query_cut and heap_factor, PISA's algorithms), and queries cut to their largest latents.
    """
    from splare_plugins.cli.console import print_json, print_table, progress
    from splare_plugins.cli.places import engine_of
    from splare_plugins.corpus import read_queries
    from splare_plugins.engines import get_engine
    from splare_plugins.retrieval.indexing import query_impacts
    from splare_plugins.retrieval.tuning import choose, tune

    if not 0 < recall <= 1:
        raise InputError(f"--recall is a share from 0 to 1, not {recall}; 0.99 is usual")
    asked = read_queries(queries, fields=fields.names)
    asked = asked[:: -(-len(asked) // sample)] if asked else asked
    chosen = get_engine(engine or engine_of(index))
    with chosen.searcher(index) as searcher:
        loaded = load_query_encoder(
            searcher.config, model, query_encoder, loading, f"the index at {without_password(index)}"
        )
    impacts = query_impacts(loaded, asked)
    with progress("trying settings") as advance:
        trials = tune(chosen, index, impacts, k=k, cuts=cut, on_progress=advance)
    best = choose(trials, recall)
    if as_json:
        print_json({"queries": len(asked), "k": k, "best": _facts(best), "trials": [_facts(each) for each in trials]})
        return
    enough = sorted((each for each in trials if each.recall >= recall), key=lambda each: each.median_ms)
    print_table(
        f"{len(enough)} of {len(trials)} settings find {recall:g} of the best {k} documents of {len(asked)} queries",
        ("settings", "recall", "median ms", "99th percentile ms"),
        [_row(each) for each in [*enough[:_SHOWN], *(trials[:1] if trials[0] not in enough[:_SHOWN] else [])]],
    )
    typer.echo(
        "next: " + splare_command("search", without_password(index), queries, "-o", "tuned.run", *_options(best))
    )


def _facts(trial: Trial) -> dict[str, Any]:
    return {
        **{"settings": dict(trial.settings), "top_k": trial.top_k, "recall": round(trial.recall, 4)},
        **{"median_ms": round(trial.median_ms, 3), "p99_ms": round(trial.p99_ms, 3)},
    }


def _row(trial: Trial) -> tuple[str, ...]:
    name = " ".join(_options(trial)) or "whole queries"
    return name, f"{trial.recall:.4f}", f"{trial.median_ms:.2f}", f"{trial.p99_ms:.2f}"


def _options(trial: Trial) -> list[str]:
    options = [word for name, value in trial.settings.items() for word in ("--setting", f"{name}={value}")]
    return [*options, *(["--top-k", str(trial.top_k)] if trial.top_k else [])]
