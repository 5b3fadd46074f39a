"""Heads: what turns token states into latent weights."""

from splare_plugins.heads.base import Head
from splare_plugins.heads.load import load_head
from splare_plugins.heads.sae import SparseAutoencoder

__all__ = ["Head", "SparseAutoencoder", "load_head"]
