"""One Java virtual machine for PyTerrier, Terrier and Lucene.

A machine cannot be given more jars once it runs. So ``pyserini_splare.start_jvm``, the one place that starts it, puts
Terrier's jars on the class path too, after Anserini's, if they are on this machine; :func:`start_terrier` fetches
them first if they are not, and has PyTerrier use the machine that runs. Whoever calls ``pt.java.init()`` instead gets
a machine with all jars as well, which ``start_jvm`` adopts. Importing this module starts nothing.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from splare_plugins.errors import MissingPartError, SplareError

log = logging.getLogger(__name__)

# Package, kind of jar, and PyTerrier's setting of the version.
_JARS = (
    ("terrier-assemblies", "jar-with-dependencies", "terrier_version"),
    ("terrier-python-helper", "jar", "helper_version"),
)
_GROUP = "org.terrier"


def downloaded_jars() -> list[str]:
    """Terrier's jars if both are in PyTerrier's folder (``PYTERRIER_HOME``, else ``~/.pyterrier``), else nothing.

    PyTerrier is not imported: this runs whenever Java starts.
    """
    found = [_downloaded(*jar) for jar in _JARS]
    return [str(path) for path in found if path is not None] if None not in found else []


def terrier_jars() -> list[str]:
    """Terrier's jars, fetched from Maven Central by PyTerrier's own resolver where they are not on this machine.

    Raises:
        MissingPartError: if they cannot be fetched.
    """
    if jars := downloaded_jars():
        return jars
    from pyterrier.java import mavenresolver

    log.warning("fetching Terrier from Maven Central, once")
    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            return [
                mavenresolver.get_package_jar(
                    _GROUP,
                    name,
                    _wanted_version(setting) or mavenresolver.latest_version_num(_GROUP, name),
                    artifact=kind,
                )
                for name, kind, setting in _JARS
            ]
    except (OSError, ValueError) as error:
        raise MissingPartError(
            f"Terrier's jars are not on this machine and cannot be fetched ({error}): connect it to the network once, "
            f"or put them into {_home()}"
        ) from error


def start_terrier(memory: str | None = None) -> None:
    """Start Java with Terrier, or use the machine that runs; later calls return at once.

    What ``pt.java`` and ``pt.terrier`` were told before holds, or is refused where Java runs already.

    Args:
        memory: upper limit of the Java heap; by default that of ``pt.java.set_memory_limit``, else 2 GB.

    Raises:
        MissingPartError: if PyTerrier, Terrier's jars or Java are missing.
        SplareError: if Java runs already without Terrier's jars, or without what was asked for.
    """
    if importlib.util.find_spec("pyterrier") is None:
        raise MissingPartError(
            "Terrier needs PyTerrier, which is not installed: run pip install 'splare-plugins[pyterrier]'"
        )
    import pyterrier as pt

    if pt.java.started():
        return
    from pyserini_splare.jvm import is_running, pyterrier_settings, require_options, start_jvm

    if not is_running():
        start_jvm(memory, terrier_jars())
    else:
        options, _, _ = pyterrier_settings()
        require_options([*options, *([] if memory is None else [f"-Xmx{memory}"])])
    with _quiet_initialisation():
        pt.java.init()


class SplareJavaInit:
    """What PyTerrier runs before and after it starts Java; registered as one of its ``JavaInitializer``.

    If a machine runs, it is used as it is. If none does, PyTerrier gets a Java that is new enough, and no option that
    keeps that Java from starting.
    """

    def __init__(self) -> None:
        self._held: list[tuple[Any, str, Any]] = []

    def priority(self) -> int:
        """After pyterrier_anserini (-105), which adds an option, and before the core (-100), which uses it."""
        return -103

    def condition(self) -> bool:
        """Only where pyserini, and with it Anserini's jar, is installed."""
        return importlib.util.find_spec("pyserini") is not None

    def pre_init(self, jnius_config: Any) -> None:
        """Prepare for the machine that runs, or for the one that will be started."""
        import pyterrier as pt

        if jnius_config.vm_running:
            pt.terrier.set_version(_require_on_class_path("terrier-assemblies", "-jar-with-dependencies"))
            pt.terrier.set_helper_version(_require_on_class_path("terrier-python-helper", ""))
            self._hold(jnius_config, "add_options")
            self._hold(jnius_config, "add_classpath")
            if importlib.util.find_spec("pyterrier_anserini") is not None:
                from pyterrier_anserini._java import AnseriniJavaInit

                # It would import all of pyserini, for half a minute; what is needed of it is imported by a search.
                self._hold(AnseriniJavaInit, "post_init")
            return
        from splare_plugins.machine.java import find_java

        java = find_java()
        if pt.java.configure["java_home"] is None:
            pt.java.set_java_home(str(java.home))
        # Slim runtimes lack this module and do not start with it; it speeds up nothing but dense vectors.
        options = [option for option in pt.java.configure["options"] if "jdk.incubator.vector" not in option]
        pt.java.configure(options=options)
        # As start_jvm() does: pyserini 1.6 cannot be imported without it, although nothing talks to OpenAI.
        os.environ.setdefault("OPENAI_API_KEY", "unused")

    def post_init(self, jnius: Any) -> None:
        """Undo what :meth:`pre_init` held back."""
        while self._held:
            setattr(*self._held.pop())

    def message(self) -> None:
        """Nothing to add to PyTerrier's start-up message."""

    def _hold(self, owner: Any, name: str) -> None:
        """Make a function do nothing until :meth:`post_init`."""
        self._held.append((owner, name, getattr(owner, name)))
        setattr(owner, name, _do_nothing)


@contextmanager
def _quiet_initialisation() -> Iterator[None]:
    """Initialise PyTerrier without its start-up message.

    Java's output goes to the process's own: PyTerrier would send it through Python's, one call a character, to
    whatever that was when Java started.
    """
    import pyterrier as pt

    redirect = pt.java.configure["redirect_io"]
    pt.java.set_redirect_io(False)
    try:
        with redirect_stderr(StringIO()) as said:
            yield
    finally:
        if not pt.java.started():
            pt.java.set_redirect_io(redirect)
    log.debug("%s", said.getvalue().strip())


def _require_on_class_path(name: str, kind: str) -> str:
    """The version of the jar ``name`` that the running machine has.

    Raises:
        SplareError: if it has none.
    """
    import jnius

    path = str(jnius.autoclass("java.lang.System").getProperty("java.class.path"))
    for entry in path.split(os.pathsep):
        if match := re.fullmatch(rf"{name}-(.+?){kind}\.jar", Path(entry).name):
            return match[1]
    raise SplareError(
        "Java runs in this process already, without Terrier's jars, because they were not on this machine when it "
        "started: call pyterrier_splare.start_terrier() in a new process, before anything else starts Java"
    )


def _downloaded(name: str, kind: str, setting: str) -> Path | None:
    """The jar of the version that is asked for, else the newest one."""
    ending = f"-{kind}.jar" if kind != "jar" else ".jar"
    version = _wanted_version(setting) or "*"
    found = sorted(_home().glob(f"{name}-{version}{ending}"), key=lambda path: _version(path.name))
    return found[-1] if found else None


def _wanted_version(setting: str) -> str | None:
    """What ``pt.terrier.set_version`` or ``set_helper_version`` was told, else the environment."""
    terrier = sys.modules.get("pyterrier.terrier.java")
    # Afterwards it is the version that runs.
    told = None if terrier is None or terrier.pt.java.started() else terrier.configure[setting]
    return str(told) if told else os.environ.get(f"TERRIER_{setting.upper().removeprefix('TERRIER_')}")


def _version(name: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", name)]


def _home() -> Path:
    return Path(os.environ.get("PYTERRIER_HOME") or Path.home() / ".pyterrier")


def _do_nothing(*_: Any) -> None:
    pass
