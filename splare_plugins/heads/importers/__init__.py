"""Importers: public SAEs become heads. One file a suite; :mod:`.suites` is the table of them."""

from splare_plugins.heads.importers.fold import Hints
from splare_plugins.heads.importers.store import import_sae
from splare_plugins.heads.importers.suites import SUITES

__all__ = ["SUITES", "Hints", "import_sae"]
