"""Importers: public SAEs become heads. One file a suite; :mod:`.suites` is the table of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from splare_plugins.machine.lazy import lazy_names

if TYPE_CHECKING:
    from splare_plugins.heads.importers.fold import Hints
    from splare_plugins.heads.importers.store import import_sae
    from splare_plugins.heads.importers.suites import SUITES

__all__ = ["SUITES", "Hints", "import_sae"]

__getattr__, __dir__ = lazy_names(__name__, {"SUITES": "suites", "Hints": "fold", "import_sae": "store"})
