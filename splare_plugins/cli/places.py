"""Where an index lies, and which engine it belongs to by what lies there."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path

# A file that every index of the engine has.
_MARKS = {"memory": "memory_index.safetensors", "lucene": "segments_*"}
_PYTERRIER = "pt_meta.json"


def hidden(index: str) -> str:
    """The place as it may be shown: without the password that may stand in an address."""
    return re.sub("//[^/@]*@", "//", index)


def engine_of(index: str) -> str:
    """The engine whose index stands at a place; Lucene's where nothing tells, whose searcher says what is wrong."""
    if index.startswith(("http://", "https://")):
        return "opensearch"
    folder = Path(index)
    with suppress(OSError, ValueError, AttributeError):  # PyTerrier's indexes name their format
        kind = json.loads((folder / _PYTERRIER).read_text(encoding="utf-8")).get("format", "")
        if kind.startswith("splare_"):
            return str(kind.removeprefix("splare_"))
    found = (name for name, mark in _MARKS.items() if folder.is_dir() and any(folder.glob(mark)))
    return next(found, "lucene")
