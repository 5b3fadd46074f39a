"""``splare opensearch``: a node on this machine for trials, and a cluster that encodes by itself."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opensearch_splare.index_command import AwsRegion, CaCerts, Url
from opensearch_splare.plan import Deployment
from splare_plugins.cli.options import DEFAULT_MODEL, Json, Loading, expand_options
from splare_plugins.serving.limits import ServerOptions

if TYPE_CHECKING:
    from opensearch_splare.node.background import BackgroundNode

app = typer.Typer(help="A local node for trials, and clusters that encode by themselves.", no_args_is_help=True)

Folder = Annotated[
    Path | None, typer.Option(help="Data and log of the node.", show_default="opensearch-node in splare's cache")
]
IndexName = Annotated[str, typer.Option("--index", "-i", help="Name of the index.")]


@app.command()
def start(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on 127.0.0.1.")] = 9200,
    folder: Folder = None,
    heap: Annotated[str, typer.Option(help="Memory of the JVM, as for java -Xmx.")] = "1g",
    version: Annotated[
        str,
        typer.Option(help="Of OpenSearch: 2, or 3, which comes without plugins (search it with --form rank_feature)."),
    ] = "2",
    as_json: Json = False,
) -> None:
    """Start a node that runs until `splare opensearch stop`; the first start downloads it (436 MB, or 58)."""
    from opensearch_splare.node.background import start_background
    from opensearch_splare.node.home import download_size, node_home
    from splare_plugins.cli.console import console, progress, report

    with progress("downloading OpenSearch", download_size(version)) as advance:
        node_home(advance, version=version)
    with console.status("starting OpenSearch"):
        state = start_background(_folder(folder), port=port, heap=heap, version=version)
    report(f"OpenSearch runs at {state.url}", _facts(state), as_json=as_json)


@app.command()
def stop(folder: Folder = None, as_json: Json = False) -> None:
    """Stop the node that `splare opensearch start` started; what was indexed is there after the next start."""
    from opensearch_splare.node.background import stop_background
    from splare_plugins.cli.console import console, report

    with console.status("stopping OpenSearch"):
        state = stop_background(_folder(folder))
    report("OpenSearch is stopped", _facts(state), as_json=as_json)


@app.command()
def status(folder: Folder = None, as_json: Json = False) -> None:
    """Say whether the node runs, and what it holds."""
    from opensearch_splare.node.background import node_status
    from splare_plugins.cli.console import report

    facts = node_status(_folder(folder))
    report("OpenSearch runs" if facts["running"] else "OpenSearch does not run", facts, as_json=as_json)


@app.command()
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
    ca_certs: CaCerts = None,
    aws_region: AwsRegion = None,
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
    config = ask_encoder(ask_url or encoder_url, token, option="--ask-url" if ask_url else "--encoder-url")
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
    with connect(url, ca_certs=ca_certs, aws_region=aws_region) as client, console.status(f"deploying {index}"):
        outcome = make(client, plan, trust=trust_encoder)
    facts = {
        "index": index,
        "model": config.describe(),
        "passage_model": outcome.models["passage"],
        "query_model": outcome.models["query"],
        "pipelines": plan.pipeline,
        "changes": outcome.changes if as_json else ", ".join(outcome.changes) or "none; everything was there already",
    }
    report(f"the cluster encodes for {index} by itself", facts, as_json=as_json)


@app.command()
def undeploy(
    index: IndexName,
    url: Url = None,
    with_index: Annotated[bool, typer.Option("--with-index", help="Delete the index and its documents too.")] = False,
    ca_certs: CaCerts = None,
    aws_region: AwsRegion = None,
    as_json: Json = False,
) -> None:
    """Remove what `splare opensearch deploy` made for an index; its documents stay unless you say --with-index."""
    from opensearch_splare.connection import connect
    from opensearch_splare.deployment import undeploy as remove
    from splare_plugins.cli.console import console, report

    with (
        connect(url, ca_certs=ca_certs, aws_region=aws_region) as client,
        console.status(f"removing the deployment of {index}"),
    ):
        removed = remove(client, index, with_index=with_index)
    facts = {"index": index, "removed": removed if as_json else ", ".join(removed) or "nothing; nothing was there"}
    report(f"the cluster no longer encodes for {index}", facts, as_json=as_json)


@app.command()
@expand_options
def verify(
    index: IndexName,
    loading: Loading,
    url: Url = None,
    model: Annotated[
        str, typer.Option("--model", "-M", help="The model that made the index: built-in name, folder or hub id.")
    ] = DEFAULT_MODEL,
    sample: Annotated[int, typer.Option(min=1, help="Documents to look at, chosen at random.")] = 1000,
    everything: Annotated[bool, typer.Option("--all", help="Look at all documents.")] = False,
    top_k: Annotated[
        str | None,
        typer.Option(help="Latents kept of a document: a number, or 'none' for all.", show_default="the index's"),
    ] = None,
    ca_certs: CaCerts = None,
    aws_region: AwsRegion = None,
    as_json: Json = False,
) -> None:
    """Find documents whose vector does not match their text, such as those that were changed in part.

    The status is 1 if there are any; index them again.
    """
    from opensearch_splare.connection import connect
    from opensearch_splare.index import SplareIndex
    from opensearch_splare.verifying import verify as compare
    from splare_plugins.cli.console import progress, report
    from splare_plugins.cli.options import load_model, parse_top_k

    asked = None if top_k is None else parse_top_k(top_k)
    with connect(url, ca_certs=ca_certs, aws_region=aws_region) as client:
        opened = SplareIndex(client, index)
        total = opened.count() if everything else min(sample, opened.count())
        made_with = opened.card.config
        loaded = load_model(model, loading)
        kept = asked if top_k is not None else made_with.document.top_k if made_with else "model"
        with progress("comparing", total) as advance:
            size = None if everything else sample
            found = compare(opened, loaded, sample=size, top_k=kept, on_progress=advance)
    facts = {"index": index, "documents": opened.count(), **asdict(found)}
    if not as_json:
        facts |= {name: _listed(getattr(found, name)) for name in ("different", "missing")}
    report("vectors do not match texts" if found.bad else "vectors match texts", facts, as_json=as_json)
    if found.bad:
        raise typer.Exit(1)


def _listed(docids: list[str]) -> str:
    more = f" and {len(docids) - 20:,} others; --json lists all" if len(docids) > 20 else ""
    return (" ".join(docids[:20]) or "none") + more


def _folder(folder: Path | None) -> Path:
    from splare_plugins.machine.cache import cache_root

    return (folder or cache_root() / "opensearch-node").absolute()


def _facts(state: BackgroundNode) -> dict[str, Any]:
    return {**asdict(state), "pid": str(state.pid)}
