"""SPLARE for PyTerrier: transformers that encode, score, explain and expand, and indexes to search.

Importing this package imports neither PyTerrier nor torch nor Java; using one of its names imports what that one
needs, and a model is loaded when the first text is encoded.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from splare_plugins.errors import MissingPartError

_HOMES = {
    "DenseBackbone": "dense",
    "EncodedDocuments": "encoded",
    "LatentRM3": "feedback",
    "Splare": "factory",
    "SplareDocEncoder": "encoders",
    "SplareExplainer": "explainer",
    "SplareIndex": "indexes",
    "SplareQueryEncoder": "encoders",
    "SplareScorer": "scorer",
    "start_terrier": "java",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("pyterrier", "pyterrier_alpha", "pandas"):
            raise MissingPartError(
                f"{name} needs PyTerrier, which is not installed; run pip install 'splare-plugins[pyterrier]'"
            ) from error
        raise


def __dir__() -> list[str]:
    return [*globals(), *__all__]
