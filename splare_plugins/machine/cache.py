"""Where this project keeps what it made once: converted models, imported SAEs, a server's files."""

from __future__ import annotations

import os
from pathlib import Path


def cache_root() -> Path:
    """``$SPLARE_CACHE``, else ``splare`` in the user's cache folder."""
    if chosen := os.environ.get("SPLARE_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "splare"
