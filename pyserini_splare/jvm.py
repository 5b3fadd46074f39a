"""One Java virtual machine for the whole process, and how it is started.

Java code (pyserini, Anserini, Lucene) needs Java 21. Starting the machine here, before anybody imports
pyserini, chooses which Java runs, puts Anserini's jar first on the class path (Terrier's carries libraries of
2014 that break it) and leaves out a module that slim runtimes lack. Importing this module starts nothing.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from splare_plugins.errors import MissingPartError, SplareError
from splare_plugins.machine.java import Java, find_java, utf8_locale

log = logging.getLogger(__name__)

# Functions without arguments that name the jars which another adapter will need, and that are on this machine.
JARS_GROUP = "splare_plugins.jars"

_MEMORY = "2g"
_starting = threading.Lock()
# Java's log manager holds its loggers weakly: a level set on one that nobody keeps is forgotten.
_quiet_loggers: list[Any] = []


def start_jvm(memory: str | None = None, extra_jars: Iterable[str | Path] = ()) -> None:
    """Start the process's Java virtual machine, or adopt the one that runs already.

    A machine cannot be restarted or given more jars: whoever needs other jars besides Anserini's calls this
    first and names them. Later calls return at once. What ``jnius_config`` and, where it is imported, PyTerrier's
    ``pt.java`` were told for the machine before holds for the one that is started here.

    Args:
        memory: upper limit of the Java heap, as for ``java -Xmx``; by default what PyTerrier or ``jnius_config`` was
            told, else 2 GB.
        extra_jars: put on the class path after Anserini's jar.

    Raises:
        MissingPartError: if pyserini or Java is not installed.
        SplareError: if a machine runs already without Anserini's jar, without ``extra_jars`` or with another
            ``memory``.
    """
    jars = [str(jar) for jar in extra_jars]
    with _starting:
        try:
            import jnius_config
        except ImportError as error:
            raise MissingPartError(_INSTALL_PYSERINI) from error
        if jnius_config.vm_running:
            _adopt(jars)
            if memory is not None:
                require_options([f"-Xmx{memory}"])
        else:
            _start(jnius_config, memory, jars)


def require_options(options: Iterable[str]) -> None:
    """Refuse the machine that runs if it was started without one of ``options``.

    Raises:
        SplareError: naming the option.
    """
    import jnius

    factory = jnius.autoclass("java.lang.management.ManagementFactory")
    given = set(factory.getRuntimeMXBean().getInputArguments().toArray())
    for option in options:
        if option not in given:
            raise SplareError(
                f"Java runs in this process already, without {option}: ask for that before anything starts Java"
            )


def pyterrier_settings() -> tuple[list[str], list[str], str | None]:
    """Options, jars and Java's folder that PyTerrier was told; it applies them only where it starts Java itself."""
    pyterrier = sys.modules.get("pyterrier")
    if pyterrier is None or pyterrier.java.started():
        return [], [], None
    told = pyterrier.java.configure
    memory = [] if told["mem"] is None else [f"-Xmx{told['mem']}m"]
    # The module of vectors is PyTerrier's idea: see the options below.
    options = [option for option in told["options"] if "jdk.incubator.vector" not in option]
    return memory + options, list(told["jars"]), told["java_home"]


def is_running() -> bool:
    """Whether the process has a Java virtual machine, whoever started it."""
    try:
        import jnius_config
    except ImportError:
        return False
    return bool(jnius_config.vm_running)


@cache
def java_class(name: str) -> Any:
    """The Python face of a Java class; starts the machine if nobody did."""
    start_jvm()
    import jnius

    return jnius.autoclass(name)


_INSTALL_PYSERINI = "Lucene comes with pyserini, which is not installed: run pip install 'splare-plugins[pyserini]'"


def _anserini_jar() -> str:
    # find_spec reads where pyserini lies without importing it: its import takes half a minute and brings torch.
    spec = importlib.util.find_spec("pyserini")
    if spec is None or spec.origin is None:
        raise MissingPartError(_INSTALL_PYSERINI)
    folder = Path(os.environ.get("ANSERINI_CLASSPATH") or Path(spec.origin).parent / "resources" / "jars")
    jars = sorted(folder.glob("anserini-*-fatjar.jar"))
    if not jars:
        raise MissingPartError(f"{folder} has no anserini-*-fatjar.jar: install pyserini again")
    return str(jars[-1])


def _options(java: Java) -> list[str]:
    options = [
        # Java would begin with a 64th of the machine's memory, and fill it before it collects garbage.
        "-Xms32m",
        # Leaves Ctrl-C to Python; Java would end the process without letting a writer clean up.
        "-Xrs",
        "--enable-native-access=ALL-UNNAMED",
        "-Dslf4j.internal.verbosity=ERROR",
        # Anserini's own tells every step. A file is read only where something logs; to set a level would cost 0.7 s.
        f"-Dlog4j2.configurationFile={Path(__file__).with_name('log4j2.xml').as_uri()}",
    ]
    if java.major >= 23:
        # Silences Lucene 9's deprecated memory calls; Java 21 does not know the option and would not start.
        options.append("--sun-misc-unsafe-memory-access=allow")
    # pyserini's own start-up adds the module jdk.incubator.vector: slim runtimes lack it and die, full ones print a
    # warning, and it speeds up nothing but dense vectors.
    return options


def _start(jnius_config: Any, memory: str | None, jars: Sequence[str]) -> None:
    told, more_jars, home = pyterrier_settings()
    java = find_java(home)
    jar = _anserini_jar()
    log.debug("starting Java %s of %s with %s", java.version, java.where, jar)
    inherited = list(jnius_config.classpath or [])
    for entry in entry_points(group=JARS_GROUP):
        jars = [*jars, *(other for other in entry.load()() if other not in jars)]
    jnius_config.set_classpath(jar, *jars, *more_jars, *inherited)
    # Of options that contradict one another, Java takes the last.
    asked = [] if memory is None else [f"-Xmx{memory}"]
    jnius_config.set_options(f"-Xmx{_MEMORY}", *_options(java), *jnius_config.options, *told, *asked)
    # pyserini 1.6 cannot be imported without this variable, although nothing here talks to OpenAI.
    os.environ.setdefault("OPENAI_API_KEY", "unused")
    with _environment({"JAVA_HOME": str(java.home), **utf8_locale()}):
        import jnius
    _quieten(jnius.autoclass)


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Variables that are read once, at the start of Java; the programs that we start later get them as they were."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _adopt(jars: Sequence[str]) -> None:
    import jnius

    path = str(jnius.autoclass("java.lang.System").getProperty("java.class.path"))
    entries = path.split(os.pathsep)
    if not any(re.fullmatch(r"anserini-.*fatjar\.jar", Path(entry).name) for entry in entries):
        raise SplareError(
            "Java runs in this process already, without Anserini's jar: call pyserini_splare.start_jvm() before "
            "anything else starts Java"
        )
    if missing := [jar for jar in jars if jar not in entries]:
        raise SplareError(
            f"Java runs in this process already, without {missing[0]}: call pyserini_splare.start_jvm(extra_jars=...) "
            "before anything else starts Java"
        )


def _quieten(autoclass: Callable[[str], Any]) -> None:
    logger = autoclass("java.util.logging.Logger").getLogger("org.apache.lucene")
    logger.setLevel(autoclass("java.util.logging.Level").SEVERE)
    _quiet_loggers.append(logger)
