"""Heads: what turns token states into latent weights."""

from splare_plugins.heads.base import Head
from splare_plugins.heads.lm import LanguageModelHead
from splare_plugins.heads.load import load_head
from splare_plugins.heads.mlm import MaskedLanguageModelHead
from splare_plugins.heads.sae import SparseAutoencoder

__all__ = ["Head", "LanguageModelHead", "MaskedLanguageModelHead", "SparseAutoencoder", "load_head"]
