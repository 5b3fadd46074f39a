"""The model: encoders of texts, ours and other people's; loaded, saved, found, assembled, described.

May import the heads, the backbone and what is below them. torch is imported where it computes: a graph does without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from splare_plugins.machine.lazy import lazy_names
from splare_plugins.machine.packages import TORCH

if TYPE_CHECKING:
    from splare_plugins.model.encoder import Encoder
    from splare_plugins.model.splare import SplareModel
    from splare_plugins.model.st_model import StModel

__all__ = ["Encoder", "SplareModel", "StModel"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {"Encoder": "encoder", "SplareModel": "splare", "StModel": "st_model"},
    needs=TORCH,
    project="torch and transformers",
    extra="encode",
)
