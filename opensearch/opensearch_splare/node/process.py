"""Nodes as processes: started on free ports of the loopback interface, each with its own folder, and stopped."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self
from urllib.error import URLError
from urllib.request import urlopen

from opensearch_splare.node.home import node_home
from opensearch_splare.node.releases import DEFAULT
from splare_plugins.errors import InputError, SplareError
from splare_plugins.machine.java import find_java, utf8_locale

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
_START_SECONDS = 240
_STOP_SECONDS = 60

# Starts a third faster and searches slower: for tests.
QUICK_JVM = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_JVM = (
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
    "-Dfile.encoding=UTF-8",
    "-Djna.nosys=true",
    "-Dlog4j2.disable.jmx=true",
    # Else the log ends with "stopping".
    "-Dlog4j.shutdownHookEnabled=false",
    "-Dlog4j2.formatMsgNoLookups=true",
    "-Dio.netty.noUnsafe=true",
    "-Dio.netty.noKeySetOptimization=true",
    "-Dio.netty.recycler.maxCapacityPerThread=0",
    "-Dio.netty.allocator.numDirectArenas=0",
)


class Node:
    """One OpenSearch node; a context manager that starts it and stops it.

    Args:
        folder: data and log of the node; made if it does not exist. What was indexed is there after a restart.
        version: of OpenSearch, ``"2"`` or ``"3"``; the second has no plugins.
        port: of its REST interface; a free one if not given.
        transport_port: for other nodes; a free one if not given.
        heap: of the JVM, as for ``-Xmx``.
        jvm_options: further options of the JVM, for example :data:`QUICK_JVM`.
        settings: of OpenSearch, over those in the home's ``config/opensearch.yml``.
        tethered: the node ends when this process does, however it ends.

    Attributes:
        url: of the REST interface.
        log: file with what the node logs.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        version: str = DEFAULT,
        port: int | None = None,
        transport_port: int | None = None,
        heap: str = "1g",
        jvm_options: tuple[str, ...] = (),
        settings: Mapping[str, str] | None = None,
        tethered: bool = True,
    ) -> None:
        self.folder = Path(folder).absolute()
        self.version = version
        self.port = port or free_port()
        self.transport_port = transport_port or free_port()
        self.url = f"http://{HOST}:{self.port}"
        self.log = self.folder / "node.log"
        self._heap = heap
        self._jvm_options = jvm_options
        self._settings = {"discovery.type": "single-node", **(settings or {})}
        self._tethered = tethered
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Start the node and wait until it answers; nothing runs after a failure.

        Raises:
            InputError: if the port is taken.
            SplareError: if the node ends or does not answer; the message holds the end of its log.
        """
        try:
            self.launch()
            self.wait()
        except BaseException:
            self.stop()
            raise

    def launch(self) -> None:
        """Start the process without waiting for it."""
        with socket.socket() as probe:
            if probe.connect_ex((HOST, self.port)) == 0:
                raise InputError(f"port {self.port} is taken; choose another one (--port)")
        command = self._command()
        for name in ("data", "tmp"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log_file:
            self._process = subprocess.Popen(
                command,
                env={**os.environ, **utf8_locale()},
                stdin=subprocess.PIPE if self._tethered else subprocess.DEVNULL,
                stdout=log_file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        log.info("starting OpenSearch at %s, process %d, log in %s", self.url, self._process.pid, self.log)

    def wait(self, nodes: int = 1) -> None:
        """Wait until the node is one of ``nodes`` or more of a cluster that can index and search."""
        deadline = time.monotonic() + _START_SECONDS
        path = f"/_cluster/health?wait_for_status=yellow&wait_for_nodes=ge({nodes})&timeout=1s"
        while time.monotonic() < deadline:
            if self.pid is None:
                raise SplareError(f"the OpenSearch node ended while it started; {self._log_end()}")
            health = get_json(self.url + path)
            if health is not None and not health["timed_out"]:
                return
            time.sleep(0.2)
        self.stop()
        raise SplareError(f"the OpenSearch node did not answer within {_START_SECONDS} seconds; {self._log_end()}")

    def stop(self) -> None:
        """Let the node finish what it does and end."""
        if self._process is not None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_SECONDS)
            self.kill()

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        if self._process is not None:
            with self._process:  # closes its input, and waits
                self._process.kill()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _command(self) -> list[str]:
        home = node_home(version=self.version)
        settings = {
            "node.name": f"node-{self.port}",
            "http.port": str(self.port),
            "transport.port": str(self.transport_port),
            "path.data": str(self.folder / "data"),
            "path.logs": str(self.folder),
            **self._settings,
        }
        return [
            str(find_java().home / "bin" / "java"),
            f"-Xms{self._heap}",
            f"-Xmx{self._heap}",
            *_JVM,
            *self._jvm_options,
            f"-Djava.io.tmpdir={self.folder / 'tmp'}",
            f"-Dsplare.tethered={str(self._tethered).lower()}",
            f"-Dopensearch.path.home={home}",
            "-cp",
            f"{home / 'launcher'}:{home / 'lib'}/*",
            "Launcher",
            str(home),
            *(f"{name}={value}" for name, value in settings.items()),
        ]

    def _log_end(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join([f"its log {self.log} ends:", *lines[-20:]])


def start_cluster(folder: str | Path, nodes: int = 2, **options: Any) -> list[Node]:
    """Start several nodes that form one cluster, each with a folder in ``folder``; the caller stops each.

    The ``options`` are those of every :class:`Node`.
    """
    ports = [(free_port(), free_port()) for _ in range(nodes)]
    settings = {
        **options.pop("settings", {}),
        "discovery.type": "zen",
        "discovery.seed_hosts": ",".join(f"{HOST}:{transport}" for _, transport in ports),
        "cluster.initial_cluster_manager_nodes": ",".join(f"node-{port}" for port, _ in ports),
    }
    made = [
        Node(Path(folder) / str(port), port=port, transport_port=transport, settings=settings, **options)
        for port, transport in ports
    ]
    try:
        for node in made:
            node.launch()
        for node in made:
            node.wait(nodes)
    except BaseException:
        for node in made:
            node.stop()
        raise
    return made


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def get_json(url: str) -> Any:
    """What a node answers; ``None`` if it does not."""
    try:
        with urlopen(url, timeout=10) as answer:
            return json.load(answer)
    except (URLError, OSError, ValueError):
        return None
