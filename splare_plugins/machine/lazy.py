"""Packages whose names import their module at first use."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

from splare_plugins.errors import MissingPartError


def lazy_names(
    package: str, homes: Mapping[str, str], *, needs: Sequence[str] = (), project: str = "", extra: str = ""
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """A package's ``__getattr__`` and ``__dir__`` (PEP 562) that import the module of a name when the name is used.

    Args:
        package: its ``__name__``.
        homes: the module of each public name, relative to the package.
        needs: modules of another project without which the names cannot be used.
        project: that project's name.
        extra: our extra that installs it.

    Raises (when a name is used):
        AttributeError: for a name that the package does not have.
        MissingPartError: if one of ``needs`` is not installed.
    """

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            return getattr(import_module(f".{homes[name]}", package), name)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] in needs:
                are = "are" if " and " in project else "is"
                raise MissingPartError(
                    f"{name} needs {project}, which {are} not installed; run pip install 'splare-plugins[{extra}]'"
                ) from error
            raise

    return get, lambda: sorted([*vars(sys.modules[package]), *homes])
