"""Imports of modules by the names that they had before they moved."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class MovedModules(MetaPathFinder, Loader):
    """Answers the import of an old name with the module of the new one, and a ``DeprecationWarning``.

    Args:
        package: that the names are relative to.
        moved: new names by old ones; what lies inside a package moves with it.
    """

    def __init__(self, package: str, moved: Mapping[str, str]) -> None:
        self._moved = {f"{package}.{old}": f"{package}.{new}" for old, new in moved.items()}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A spec for an old name; ``None`` for all others."""
        return None if self._new_name(fullname) is None else ModuleSpec(fullname, self)

    def exec_module(self, module: ModuleType) -> None:
        """Put the module of the new name in the place of ``module``, as the import system allows a module to do."""
        old, new = module.__name__, str(self._new_name(module.__name__))
        warnings.warn(f"{old} is {new} now; import that", DeprecationWarning, stacklevel=2)
        sys.modules[old] = import_module(new)

    def _new_name(self, name: str) -> str | None:
        """Also of a module inside a package that moved."""
        if name in self._moved:
            return self._moved[name]
        return next((new + name[len(old) :] for old, new in self._moved.items() if name.startswith(f"{old}.")), None)
