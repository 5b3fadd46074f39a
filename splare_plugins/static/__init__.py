"""Queries without a transformer: a table from tokens to latents, looked up with numpy and SentencePiece alone.

May import backbone's rule for texts, the heads' labels, impacts, config and the machine; never torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from splare_plugins.machine.lazy import lazy_names

if TYPE_CHECKING:
    from splare_plugins.static.encoder import StaticQueryEncoder
    from splare_plugins.static.folder import copy_static, is_static, load_static, save_static
    from splare_plugins.static.table import TokenTable

_HOMES = {
    "StaticQueryEncoder": "encoder",
    "TokenTable": "table",
    "copy_static": "folder",
    "is_static": "folder",
    "load_static": "folder",
    "save_static": "folder",
}

__all__ = ["StaticQueryEncoder", "TokenTable", "copy_static", "is_static", "load_static", "save_static"]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
