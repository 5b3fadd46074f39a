"""The transformer under a SPLARE model: cut after the SAE's layer, bidirectional, and checked at load.

May import config and the machine. The rule for texts is imported without torch.
"""

from splare_plugins.machine.lazy import lazy_names

_HOMES = {
    "Backbone": "backbone",
    "Tokens": "tokens",
    "load_backbone": "load",
    "pack_states": "backbone",
    "padded_batch": "tokens",
    "pool_mask": "tokens",
    "require_bidirectional": "guard",
}

__all__ = sorted(_HOMES)

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
