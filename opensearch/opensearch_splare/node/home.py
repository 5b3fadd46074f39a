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

from opensearch_splare.node.artifacts import Artifact, fetch, read_artifacts
from opensearch_splare.node.releases import DEFAULT, Release, get_release
from splare_plugins.errors import SplareError
from splare_plugins.machine import Progress
from splare_plugins.machine.cache import cache_root
from splare_plugins.machine.folders import replacing_folder
from splare_plugins.machine.java import find_java

log = logging.getLogger(__name__)

VERSION = get_release().version
# Changed when the same pieces are put together in another way.
_LAYOUT = b"1"
_COMPILER = "compiler"
_LAUNCHER = "Launcher.java"
_LOGGING = "log4j2.properties"
# 300 MB of native runtimes for models inside the cluster, which remote models never touch.
_UNUSED = "onnxruntime_gpu-"

_DESCRIPTOR = """\
name={name}
description=module {name}
classname={classname}
version={version}
opensearch.version={version}
java.version=11
has.native.controller=false
"""


def node_home(on_progress: Progress | None = None, *, version: str = DEFAULT) -> Path:
    """The home folder of a node; built where it is not.

    OpenSearch 2 comes with k-NN, neural-search, ml-commons and job-scheduler, OpenSearch 3 without a plugin. The
    build of the first downloads 436 MB from Maven Central, each file checked by its sha256, and keeps 135 MB. It
    stands under ``$SPLARE_CACHE`` under a name that changes with the pieces; whatever of it is missing or cut off is
    made again.

    Args:
        version: ``"2"`` or ``"3"``.
        on_progress: called with the number of bytes just downloaded.

    Raises:
        InputError: if a piece cannot be fetched.
        MissingPartError: if Java is missing.
    """
    release = get_release(version)
    home = cache_root() / f"opensearch-{release.version}-{_recipe(release)}"
    artifacts = read_artifacts(release)
    if _is_whole(home, artifacts):
        return home
    home.parent.mkdir(parents=True, exist_ok=True)
    with _only_one(home.with_name(".opensearch-node.lock")):
        if not _is_whole(home, artifacts):
            log.info("building an OpenSearch %s node in %s (once)", release.version, home)
            _build(home, release, artifacts, on_progress)
    return home


def download_size(version: str = DEFAULT) -> int:
    """Bytes that a build downloads."""
    return sum(artifact.size for artifact in read_artifacts(get_release(version)))


def _recipe(release: Release) -> str:
    files = (release.artifacts, _beside(_LAUNCHER), release.settings, _beside(_LOGGING))
    return hashlib.sha256(b"\0".join([_LAYOUT, *(path.read_bytes() for path in files)])).hexdigest()[:8]


def _beside(name: str) -> Path:
    return Path(__file__).with_name(name)


def _is_whole(home: Path, artifacts: Sequence[Artifact]) -> bool:
    """Whether the folder was published and no jar has been lost or cut off since."""

    def is_there(artifact: Artifact) -> bool:
        if _is_bundle(artifact):
            return (home / artifact.folder / "plugin-descriptor.properties").is_file()
        jar = home / artifact.folder / artifact.name
        return jar.is_file() and jar.stat().st_size == artifact.size

    return all(is_there(artifact) for artifact in artifacts if artifact.folder != _COMPILER)


def _build(home: Path, release: Release, artifacts: Sequence[Artifact], on_progress: Progress | None) -> None:
    downloads = home.with_name(".opensearch-downloads")
    downloads.mkdir(exist_ok=True)
    with ThreadPoolExecutor(max_workers=4) as pool:
        files = list(pool.map(lambda artifact: fetch(artifact, downloads, on_progress), artifacts))
    with replacing_folder(home) as made:
        for artifact, file in zip(artifacts, files, strict=True):
            _place(artifact, file, made / artifact.folder)
        for name, classname in release.modules.items():
            text = _DESCRIPTOR.format(name=name, classname=classname, version=release.version)
            (made / "modules" / name / "plugin-descriptor.properties").write_text(text, encoding="utf-8")
        (made / "config").mkdir()
        shutil.copy(release.settings, made / "config" / "opensearch.yml")
        shutil.copy(_beside(_LOGGING), made / "config")
        _compile(made, release.java)
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


def _compile(home: Path, java: str) -> None:
    """Compile the launcher with Eclipse's compiler, a jar: Java from pip has none."""
    (compiler,) = (home / _COMPILER).iterdir()
    libraries = ":".join(map(str, (home / "lib").glob("*.jar")))
    command = [str(find_java().home / "bin" / "java"), "-jar", str(compiler), "-source", java, "-target", java]
    command += ["-proc:none", "-nowarn", "-classpath", libraries, "-d", str(home / "launcher")]
    command.append(str(_beside(_LAUNCHER)))
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
