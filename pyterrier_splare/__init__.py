"""SPLARE as PyTerrier transformers and indexes."""
