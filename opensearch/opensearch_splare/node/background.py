"""A node that outlives the command that started it, found again through a note in its folder."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from opensearch_splare.node.process import Node, get_json
from opensearch_splare.node.releases import DEFAULT, get_release
from splare_plugins.errors import InputError, SplareError, splare_command
from splare_plugins.machine.files import replacing

_NOTE = "node.json"
_VERSION = "version"
_STOP_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class BackgroundNode:
    """A node that was started."""

    url: str
    pid: int
    folder: str
    log: str


def start_background(folder: Path, *, port: int, heap: str, version: str) -> BackgroundNode:
    """Start a node and leave it running.

    Raises:
        InputError: if one runs in this folder already, it has data of another version, or the port is taken.
        SplareError: if it does not start.
    """
    if before := _running(folder):
        command = splare_command("opensearch", "stop", "--folder", folder)
        raise InputError(f"a node is running in {folder} at {before.url}; stop it first: {command}")
    _claim(folder, version)
    node = Node(folder, port=port, heap=heap, version=version, tethered=False)
    node.start()
    state = BackgroundNode(url=node.url, pid=node.pid or 0, folder=str(folder), log=str(node.log))
    with replacing(folder / _NOTE) as beside:
        beside.write_text(json.dumps(asdict(state)) + "\n", encoding="utf-8")
    return state


def _claim(folder: Path, version: str) -> None:
    """A newer server would change the data of an older one for good, and an older one cannot read a newer one's."""
    get_release(version)
    note = folder / _VERSION
    # Folders of earlier versions of this package have no note.
    before = note.read_text(encoding="utf-8").strip() if note.exists() else DEFAULT
    if (folder / "data").exists() and before != version:
        raise InputError(
            f"{folder} has the data of an OpenSearch {before}; give version {version} another one with --folder"
        )
    folder.mkdir(parents=True, exist_ok=True)
    note.write_text(f"{version}\n", encoding="utf-8")


def stop_background(folder: Path) -> BackgroundNode:
    """Stop the node that was started in ``folder``.

    Raises:
        InputError: if none runs.
        SplareError: if it does not end.
    """
    if (state := _running(folder)) is None:
        raise InputError(f"no node that splare started is running in {folder}")
    os.kill(state.pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while _is_alive(state.pid):
        if time.monotonic() > deadline:
            raise SplareError(f"the node with process id {state.pid} does not end; its log is {state.log}")
        time.sleep(0.1)
    (folder / _NOTE).unlink(missing_ok=True)
    return state


def node_status(folder: Path) -> dict[str, Any]:
    """Whether a node of ``folder`` runs, where, and what it holds."""
    if (state := _running(folder)) is None:
        return {"running": False, "folder": str(folder)}
    health = get_json(f"{state.url}/_cluster/health") or {}
    counts = (get_json(f"{state.url}/_stats/docs") or {}).get("indices", {})
    return {
        "running": True,
        "url": state.url,
        "version": (get_json(state.url) or {}).get("version", {}).get("number"),
        "pid": str(state.pid),
        "health": health.get("status"),
        "indexes": len(counts),
        "documents": sum(each["primaries"]["docs"]["count"] for each in counts.values()),
        "folder": state.folder,
        "log": state.log,
    }


def _running(folder: Path) -> BackgroundNode | None:
    """The node of the note, if that very process answers at its URL: ids of processes are used again."""
    try:
        state = BackgroundNode(**json.loads((folder / _NOTE).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (TypeError, ValueError) as error:
        raise InputError(f"{folder / _NOTE} is damaged ({error}); remove it") from error
    nodes = (get_json(f"{state.url}/_nodes/_local/process") or {}).get("nodes", {})
    return state if any(node.get("process", {}).get("id") == state.pid for node in nodes.values()) else None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A child of this process that ended stays until it is asked after.
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == 0
    except ChildProcessError:
        return True
