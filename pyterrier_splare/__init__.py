"""SPLARE for PyTerrier: transformers that encode, score, explain and expand, and indexes to search.

Importing this package imports neither PyTerrier nor torch nor Java; using one of its names imports what that one
needs, and a model is loaded when the first text is encoded.
"""

from __future__ import annotations

import sys

from splare_plugins.machine.lazy import lazy_names
from splare_plugins.machine.moved import MovedModules

_HOMES = {
    "DenseBackbone": "dense",
    "EncodedDocuments": "encoded",
    "LatentRM3": "latent_rm3",
    "Splare": "factory",
    "SplareDocEncoder": "encoders",
    "SplareExplainer": "explainer",
    "SplareIndex": "indexes",
    "SplareQueryEncoder": "encoders",
    "SplareScorer": "scorer",
    "start_terrier": "terrier_java",
}

__all__ = sorted(_HOMES)

__getattr__, __dir__ = lazy_names(
    __name__, _HOMES, needs=("pyterrier", "pyterrier_alpha", "pandas"), project="PyTerrier", extra="pyterrier"
)

sys.meta_path.insert(0, MovedModules(__name__, {"feedback": "latent_rm3", "java": "terrier_java"}))
