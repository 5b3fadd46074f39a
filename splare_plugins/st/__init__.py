"""SPLARE in sentence-transformers, both ways, and sparse encoders of sentence-transformers in our engines.

:class:`SplareEncoder` is a ``SparseEncoder`` made of our backbone and head; :func:`export_stock` writes a model with
stock modules only, where that is exact; :class:`StModel` encodes for our engines with any ``SparseEncoder``.
sentence-transformers is imported when one of them is used: it takes seconds.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from splare_plugins.errors import MissingPartError

if TYPE_CHECKING:
    from splare_plugins.st.encoder import SplareEncoder
    from splare_plugins.st.export import export_stock
    from splare_plugins.st.model import StModel
    from splare_plugins.st.modules import SplarePooling, SplareTransformer

__all__ = ["SplareEncoder", "SplarePooling", "SplareTransformer", "StModel", "export_stock"]

_HOMES = {
    "SplareEncoder": "encoder",
    "SplarePooling": "modules",
    "SplareTransformer": "modules",
    "StModel": "model",
    "export_stock": "export",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        import sentence_transformers  # noqa: F401
    except ImportError as error:
        raise MissingPartError(
            f"{name} needs sentence-transformers; run: pip install 'splare-plugins[sentence-transformers]'"
        ) from error
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
