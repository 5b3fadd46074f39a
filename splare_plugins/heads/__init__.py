"""Heads: what turns token states into latent weights, where public SAEs come from, and what latents are called.

May import the pooling, the config and impacts, and the machine. torch is imported when a head is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from splare_plugins.machine.lazy import lazy_names

if TYPE_CHECKING:
    from splare_plugins.heads.base import Head
    from splare_plugins.heads.lm import LanguageModelHead
    from splare_plugins.heads.load import load_head
    from splare_plugins.heads.mlm import MaskedLanguageModelHead
    from splare_plugins.heads.sae import SparseAutoencoder

__all__ = ["Head", "LanguageModelHead", "MaskedLanguageModelHead", "SparseAutoencoder", "load_head"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Head": "base",
        "LanguageModelHead": "lm",
        "MaskedLanguageModelHead": "mlm",
        "SparseAutoencoder": "sae",
        "load_head": "load",
    },
)
