"""Queries without a transformer: a table from tokens to latents, looked up with numpy alone.

May import backbone's rule for texts, impacts, config and the machine; never torch.
"""

from splare_plugins.machine.lazy import lazy_names

_HOMES = {"StaticQueryEncoder": "encoder", "TokenTable": "table", "load_static": "folder", "save_static": "folder"}

__all__ = sorted(_HOMES)

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
