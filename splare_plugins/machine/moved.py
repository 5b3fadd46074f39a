"""Imports of modules by the names that they had before they moved."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import CodeType, ModuleType


class MovedModules(MetaPathFinder, InspectLoader):
    """Answers the import of an old name with the module of the new one, and a ``DeprecationWarning``.

    ``python -m`` of an old name runs the module of the new one.

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
        new = str(self._new_name(module.__name__))
        warnings.warn(f"{module.__name__} is {new} now; import that", DeprecationWarning, stacklevel=2)
        sys.modules[module.__name__] = import_module(new)

    def get_code(self, fullname: str) -> CodeType | None:
        """The code of the module of the new name, which ``runpy`` runs."""
        return self._new_loader(fullname).get_code(str(self._new_name(fullname)))

    def get_source(self, fullname: str) -> str | None:
        """The source of the module of the new name."""
        return self._new_loader(fullname).get_source(str(self._new_name(fullname)))

    def _new_loader(self, name: str) -> InspectLoader:
        spec = find_spec(str(self._new_name(name)))
        if spec is None or not isinstance(spec.loader, InspectLoader):
            raise ImportError(f"there is no module {self._new_name(name)}", name=name)
        return spec.loader

    def _new_name(self, name: str) -> str | None:
        """Also of a module inside a package that moved."""
        if name in self._moved:
            return self._moved[name]
        return next((new + name[len(old) :] for old, new in self._moved.items() if name.startswith(f"{old}.")), None)
