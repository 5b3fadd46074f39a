"""``splare opensearch deploy`` and ``undeploy``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from opensearch_splare.index_command import Url
from opensearch_splare.plan import Deployment
from splare_plugins.cli.options import Json
from splare_plugins.serving.limits import ServerOptions

IndexName = Annotated[str, typer.Option("--index", "-i", help="Name of the index.")]


def deploy(
    index: IndexName,
    encoder_url: Annotated[
        str, typer.Option(help="The encoder (splare serve), as the nodes of the cluster reach it.")
    ] = f"http://{ServerOptions.host}:{ServerOptions.port}",
    url: Url = None,
    ask_url: Annotated[
        str | None, typer.Option(help="The encoder as this machine reaches it.", show_default="--encoder-url")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="File with the encoder's bearer token; or set SPLARE_SERVE_TOKEN.")
    ] = None,
    passage_words: Annotated[
        int | None,
        typer.Option(min=1, help="Cut texts into passages of so many words.", show_default="one vector for a text"),
    ] = None,
    two_phase: Annotated[
        bool, typer.Option("--two-phase", help="Search in two phases: faster, for few hits, no longer exact.")
    ] = False,
    batch_size: Annotated[int, typer.Option(min=1, help="Texts of one call while indexing.")] = Deployment.batch_size,
    read_timeout: Annotated[int, typer.Option(min=1, help="Seconds that a call may take.")] = Deployment.read_timeout,
    connections: Annotated[
        int, typer.Option(min=1, help="Most calls of a node at the same time.")
    ] = Deployment.connections,
    shards: Annotated[int, typer.Option(min=1, help="Primary shards of a new index.")] = Deployment.shards,
    replicas: Annotated[
        int | None, typer.Option(min=0, help="Copies of each shard.", show_default="1 if there is a second node")
    ] = None,
    analyzer: Annotated[str | None, typer.Option(help="OpenSearch's analyzer of a new index's texts.")] = None,
    trust_encoder: Annotated[
        bool, typer.Option("--trust-encoder", help="Change the cluster's settings so that it may call the encoder.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the requests for an empty cluster, and send none.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Let a cluster encode by itself: texts while it indexes, and queries, through a running `splare serve`.

    Makes connectors, remote models, an ingest pipeline, a search pipeline and the index; what is there is kept.
    """
    from opensearch_splare.bodies import all_requests
    from opensearch_splare.connection import connect
    from opensearch_splare.deployment import deploy as make
    from opensearch_splare.encoder_service import ask_encoder
    from splare_plugins.cli.console import console, print_json, report
    from splare_plugins.serving.security import read_token

    token = read_token(token_file)
    config = ask_encoder(ask_url or encoder_url, token)
    plan = Deployment(
        index=index,
        encoder_url=encoder_url,
        config=config,
        token=token,
        batch_size=batch_size,
        read_timeout=read_timeout,
        connections=connections,
        passage_words=passage_words,
        two_phase=two_phase,
        shards=shards,
        replicas=replicas,
        analyzer=analyzer,
    )
    if dry_run:
        requests = list(all_requests(plan))
        if as_json:
            print_json([request._asdict() for request in requests])
            return
        for method, path, body in requests:
            typer.echo(f"{method} {path}")
            if body is not None:
                typer.echo(json.dumps(body, indent=2, ensure_ascii=False))
            typer.echo()
        return
    with connect(url) as client, console.status(f"deploying {index}"):
        outcome = make(client, plan, trust=trust_encoder)
    facts = {
        "index": index,
        "model": config.describe(),
        "passage_model": outcome.models["passage"],
        "query_model": outcome.models["query"],
        "pipelines": plan.pipeline,
        "changes": outcome.changes if as_json else ", ".join(outcome.changes) or "none, all of it was there",
    }
    report(f"the cluster encodes for {index} by itself", facts, as_json=as_json)


def undeploy(
    index: IndexName,
    url: Url = None,
    with_index: Annotated[bool, typer.Option("--with-index", help="Delete the index and its documents too.")] = False,
    as_json: Json = False,
) -> None:
    """Remove what `splare opensearch deploy` made for an index; its documents stay unless you say --with-index."""
    from opensearch_splare.connection import connect
    from opensearch_splare.deployment import undeploy as remove
    from splare_plugins.cli.console import console, report

    with connect(url) as client, console.status(f"removing the deployment of {index}"):
        removed = remove(client, index, with_index=with_index)
    facts = {"index": index, "removed": removed if as_json else ", ".join(removed) or "nothing, nothing was there"}
    report(f"the cluster no longer encodes for {index}", facts, as_json=as_json)
