"""SPLARE: learned sparse retrieval with the latents of a sparse autoencoder.

``SplareModel`` turns text into latent weights, ``Quantizer`` turns those into integer impacts of
pseudo-terms ``f12345``, and the engines index and search them. Importing this package imports neither torch
nor Java; that happens when a model or an engine is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from splare_plugins.config import SideConfig, SplareConfig
    from splare_plugins.errors import SplareError
    from splare_plugins.impacts import Quantizer
    from splare_plugins.model import SplareModel

__version__ = "0.1.0"
__all__ = ["Quantizer", "SideConfig", "SplareConfig", "SplareError", "SplareModel", "__version__"]

_HOMES = {
    "Quantizer": "impacts",
    "SideConfig": "config",
    "SplareConfig": "config",
    "SplareError": "errors",
    "SplareModel": "model",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
