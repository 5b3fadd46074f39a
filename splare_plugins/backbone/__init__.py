"""The transformer under a SPLARE model: cut after the SAE's layer, bidirectional, and checked at load.

May import config and the machine.
"""

from splare_plugins.backbone.backbone import Backbone, Tokens, pack_states, pool_mask
from splare_plugins.backbone.guard import require_bidirectional
from splare_plugins.backbone.load import load_backbone

__all__ = ["Backbone", "Tokens", "load_backbone", "pack_states", "pool_mask", "require_bidirectional"]
