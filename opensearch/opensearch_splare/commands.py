"""``splare opensearch``: a node on this machine for trials, and a cluster that encodes by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from opensearch_splare.deploy_command import deploy, undeploy
from splare_plugins.cli.options import Json

app = typer.Typer(help="A local node for trials, and clusters that encode by themselves.", no_args_is_help=True)

Folder = Annotated[
    Path | None, typer.Option(help="Data and log of the node.", show_default="opensearch-node in splare's cache")
]


@app.command()
def start(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on 127.0.0.1.")] = 9200,
    folder: Folder = None,
    heap: Annotated[str, typer.Option(help="Memory of the JVM, as for java -Xmx.")] = "1g",
    as_json: Json = False,
) -> None:
    """Start a node that runs until `splare opensearch stop`; the first start downloads it (436 MB)."""
    from opensearch_splare.node.background import start_background
    from opensearch_splare.node.home import download_size, node_home
    from splare_plugins.cli.console import console, progress, report

    with progress("downloading OpenSearch", download_size()) as advance:
        node_home(advance)
    with console.status("starting OpenSearch"):
        state = start_background(_folder(folder), port=port, heap=heap)
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

    where = _folder(folder)
    facts = node_status(where)
    report("OpenSearch runs" if facts["running"] else "OpenSearch does not run", facts, as_json=as_json)


app.command()(deploy)
app.command()(undeploy)


def _folder(folder: Path | None) -> Path:
    from splare_plugins.machine.cache import cache_root

    return (folder or cache_root() / "opensearch-node").absolute()


def _facts(state: Any) -> dict[str, Any]:
    return {"url": state.url, "pid": str(state.pid), "folder": str(state.folder), "log": str(state.log)}
