"""Where an index lies, and which engine it belongs to by what lies there."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from splare_plugins.config import CONFIG_FILE
from splare_plugins.errors import InputError, splare_command

# A file that every index of the engine has.
_MARKS = {"memory": "memory_index.safetensors", "lucene": "segments_*"}
_PYTERRIER = "pt_meta.json"
MANIFEST_FILE = "encoding.json"  # as splare_plugins.corpus.manifest has it, whose import is slow


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


def require_index(index: str, engine: str | None = None) -> None:
    """Refuse a place that holds something else than an index, or one of another engine, by what lies there.

    Raises:
        InputError: saying what it is.
    """
    folder = Path(index)
    if (folder / MANIFEST_FILE).is_file():
        command = splare_command("index", "lucene", index, "-o", "INDEX")
        raise InputError(f"{index} is an encoded corpus, not an index; make one of it: {command}")
    if (folder / CONFIG_FILE).is_file():
        raise InputError(f"{index} is a model, not an index; name the folder that splare index made")
    if folder.is_file():
        raise InputError(f"{index} is a file, not the folder of an index")
    found = engine_of(index)
    known = any(any(folder.glob(mark)) for mark in (*_MARKS.values(), _PYTERRIER)) if folder.is_dir() else False
    if known and engine not in (None, found):
        raise InputError(f"{index} is an index of the engine {found}, not of {engine}; omit --engine")
