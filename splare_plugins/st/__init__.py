"""Our model inside sentence-transformers: a ``SparseEncoder`` made of our backbone and head, and an export.

:class:`SplareEncoder` is that encoder; :func:`export_stock` writes a model with stock modules only, where that is
exact; :class:`StModel` (of the model room) encodes for our engines with any ``SparseEncoder``. sentence-transformers
is imported when one of them is used: it takes seconds. May import the model room and what is below it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from splare_plugins.machine.lazy import lazy_names

if TYPE_CHECKING:
    from splare_plugins.model import StModel
    from splare_plugins.st.export import export_stock
    from splare_plugins.st.modules import SplarePooling, SplareTransformer
    from splare_plugins.st.sparse_encoder import SplareEncoder

__all__ = ["SplareEncoder", "SplarePooling", "SplareTransformer", "StModel", "export_stock"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "SplareEncoder": "sparse_encoder",
        "SplarePooling": "modules",
        "SplareTransformer": "modules",
        "StModel": ".model",
        "export_stock": "export",
    },
    needs=("sentence_transformers",),
    project="sentence-transformers",
    extra="sentence-transformers",
)
