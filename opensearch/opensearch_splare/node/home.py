"""The home folder of a node: built once, in one step, shared by all nodes on this machine."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import shutil
import subprocess
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from opensearch_splare.node.artifacts import LIST, Artifact, fetch, read_artifacts
from splare_plugins.errors import SplareError
from splare_plugins.machine import Progress
from splare_plugins.machine.cache import cache_root
from splare_plugins.machine.folders import replacing_folder
from splare_plugins.machine.java import find_java

log = logging.getLogger(__name__)

VERSION = "2.19.1"
# Changed when the same pieces are put together in another way.
_LAYOUT = b"1"
_COMPILER = "compiler"
_LAUNCHER = "Launcher.java"
_CONFIG = ("opensearch.yml", "log4j2.properties")
# 300 MB of native runtimes for models inside the cluster, which remote models never touch.
_UNUSED = "onnxruntime_gpu-"

# Jars of modules come without the descriptor that plugin bundles have.
_MODULES = {
    "aggs-matrix-stats": "org.opensearch.search.aggregations.matrix.MatrixAggregationPlugin",
    "analysis-common": "org.opensearch.analysis.common.CommonAnalysisPlugin",
    "ingest-common": "org.opensearch.ingest.common.IngestCommonPlugin",
    "lang-painless": "org.opensearch.painless.PainlessPlugin",
    "mapper-extras": "org.opensearch.index.mapper.MapperExtrasPlugin",
    "parent-join": "org.opensearch.join.ParentJoinPlugin",
    "reindex": "org.opensearch.index.reindex.ReindexPlugin",
    "transport-netty4": "org.opensearch.transport.Netty4Plugin",
}
_DESCRIPTOR = """\
name={name}
description=module {name}
classname={classname}
version={version}
opensearch.version={version}
java.version=11
has.native.controller=false
"""


def node_home(on_progress: Progress | None = None) -> Path:
    """The home folder of OpenSearch with k-NN, neural-search, ml-commons and job-scheduler; built where it is not.

    The build downloads 436 MB from Maven Central, each file checked by its sha256, and keeps 135 MB. It stands under
    ``$SPLARE_CACHE`` under a name that changes with the pieces; whatever of it is missing or cut off is made again.

    Args:
        on_progress: called with the number of bytes just downloaded.

    Raises:
        InputError: if a piece cannot be fetched.
        MissingPartError: if Java is missing.
    """
    home = cache_root() / f"opensearch-{VERSION}-{_recipe()}"
    artifacts = read_artifacts()
    if _is_whole(home, artifacts):
        return home
    home.parent.mkdir(parents=True, exist_ok=True)
    with _only_one(home.with_name(".opensearch-node.lock")):
        if not _is_whole(home, artifacts):
            log.info("building an OpenSearch %s node in %s (once)", VERSION, home)
            _build(home, artifacts, on_progress)
    return home


def download_size() -> int:
    """Bytes that a build downloads."""
    return sum(artifact.size for artifact in read_artifacts())


def _recipe() -> str:
    files = (LIST, *(Path(__file__).with_name(name) for name in (_LAUNCHER, *_CONFIG)))
    return hashlib.sha256(b"\0".join([_LAYOUT, *(path.read_bytes() for path in files)])).hexdigest()[:8]


def _is_whole(home: Path, artifacts: Sequence[Artifact]) -> bool:
    """Whether the folder was published and no jar has been lost or cut off since."""

    def is_there(artifact: Artifact) -> bool:
        if _is_bundle(artifact):
            return (home / artifact.folder / "plugin-descriptor.properties").is_file()
        jar = home / artifact.folder / artifact.name
        return jar.is_file() and jar.stat().st_size == artifact.size

    return all(is_there(artifact) for artifact in artifacts if artifact.folder != _COMPILER)


def _build(home: Path, artifacts: Sequence[Artifact], on_progress: Progress | None) -> None:
    downloads = home.with_name(".opensearch-downloads")
    downloads.mkdir(exist_ok=True)
    with ThreadPoolExecutor(max_workers=4) as pool:
        files = list(pool.map(lambda artifact: fetch(artifact, downloads, on_progress), artifacts))
    with replacing_folder(home) as made:
        for artifact, file in zip(artifacts, files, strict=True):
            _place(artifact, file, made / artifact.folder)
        for name, classname in _MODULES.items():
            text = _DESCRIPTOR.format(name=name, classname=classname, version=VERSION)
            (made / "modules" / name / "plugin-descriptor.properties").write_text(text, encoding="utf-8")
        (made / "config").mkdir()
        for name in _CONFIG:
            shutil.copy(Path(__file__).with_name(name), made / "config")
        _compile(made)
    shutil.rmtree(downloads)


def _place(artifact: Artifact, file: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if not _is_bundle(artifact):
        shutil.copy(file, folder / artifact.name)
        return
    with zipfile.ZipFile(file) as bundle:
        bundle.extractall(folder, [name for name in bundle.namelist() if _UNUSED not in name])


def _is_bundle(artifact: Artifact) -> bool:
    return artifact.name.endswith(".zip")


def _compile(home: Path) -> None:
    """Compile the launcher with Eclipse's compiler, a jar: Java from pip has none."""
    (compiler,) = (home / _COMPILER).iterdir()
    libraries = ":".join(map(str, (home / "lib").glob("*.jar")))
    command = [str(find_java().home / "bin" / "java"), "-jar", str(compiler), "-source", "17", "-target", "17"]
    command += ["-proc:none", "-nowarn", "-classpath", libraries, "-d", str(home / "launcher")]
    command.append(str(Path(__file__).with_name(_LAUNCHER)))
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise SplareError(f"the launcher of the OpenSearch node cannot be compiled: {result.stderr[-2000:]}")
    shutil.rmtree(home / _COMPILER)


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """Of several processes that build at the same time, the others wait for the first."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
