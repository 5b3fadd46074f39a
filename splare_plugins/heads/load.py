"""The table of head kinds."""

from __future__ import annotations

from pathlib import Path

from splare_plugins.errors import InputError
from splare_plugins.heads.base import Head
from splare_plugins.heads.lm import LanguageModelHead
from splare_plugins.heads.mlm import MaskedLanguageModelHead
from splare_plugins.heads.sae import SparseAutoencoder

KINDS: dict[str, type[Head]] = {
    head.kind: head for head in (SparseAutoencoder, LanguageModelHead, MaskedLanguageModelHead)
}


def load_head(kind: str, folder: Path, *, sha256: str | None = None) -> Head:
    """Load the head of a model folder by the kind that its config names.

    Raises:
        InputError: for a kind that this version does not know.
    """
    if kind not in KINDS:
        raise InputError(f"unknown head kind {kind!r} in the model's config; this version knows {', '.join(KINDS)}")
    return KINDS[kind].load(folder, sha256=sha256)
