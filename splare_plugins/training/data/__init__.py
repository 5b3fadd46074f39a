"""What training reads: rows, examples, mined negatives, teachers' scores and vectors.

May import what the training room may; nothing of training's own but its settings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from splare_plugins.machine.lazy import lazy_names

if TYPE_CHECKING:
    from splare_plugins.training.data.mixture import Collator, prepare

__all__ = ["Collator", "prepare"]

__getattr__, __dir__ = lazy_names(__name__, {"Collator": "mixture", "prepare": "mixture"})
