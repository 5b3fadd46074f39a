"""Conversion once: a source becomes a head folder, in the cache or where the user wants it."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import replace
from pathlib import Path

from splare_plugins.errors import InputError
from splare_plugins.heads.importers.fetch import locate
from splare_plugins.heads.importers.fold import Hints, require_used
from splare_plugins.heads.labels import LABELS
from splare_plugins.heads.record import CARD
from splare_plugins.machine.cache import cache_root
from splare_plugins.machine.files import file_sha256, read_json, require_free
from splare_plugins.machine.folders import replacing_folder
from splare_plugins.machine.hub import HubUnreachableError

logger = logging.getLogger(__name__)

CONVERSION = 2  # goes up when an importer's formulas change, so that older conversions are not taken from the cache


def import_sae(
    source: str,
    *,
    output: Path | None = None,
    suite: str | None = None,
    hints: Hints | None = None,
    d_model: int | None = None,
    overwrite: bool = False,
) -> Path:
    """Convert a public SAE and return the folder of the head.

    The result is written beside its place and renamed, so an interrupted conversion leaves nothing that looks
    finished. In the cache a source is converted once.

    Args:
        source: a folder or file, or ``hf:org/repo[/path][@revision][#selector]``.
        output: folder to make; ``None`` is a place in the cache.
        suite: the format, where the files alone do not tell.
        hints: what the files do not say: layer, k, norm of the input.
        d_model: hidden size of the backbone it is meant for, if known.
        overwrite: replace the imported SAE that ``output`` holds.

    Raises:
        InputError: for what is not supported, does not fit, is damaged or cannot be fetched.
    """
    hints = replace(hints or Hints(), suite=suite)
    if output is not None:
        require_free(output, overwrite=overwrite, marker=CARD, what="imported SAE")
    try:
        located = locate(source, suite=suite, hints=hints)
    except HubUnreachableError:
        earlier = _converted_earlier(source, hints)
        if earlier is None or output is not None:
            raise
        logger.warning("the hub cannot be reached; using the earlier conversion %s", earlier)
        return _fitting(earlier, d_model)
    sha256 = file_sha256(*located.files)
    key = [CONVERSION, source, located.revision, located.suite.name, vars(located.hints), sha256]
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    folder = output or cache_root() / "sae" / digest[:24]
    if output is None and (folder / CARD).is_file():
        return _fitting(folder, d_model)
    logger.info("converting %s into %s", source, folder)
    head = located.suite.read(located.folder, located.hints)
    _require_fit(head.state_size, d_model, source)
    require_used(hints, head, source)
    head.card |= {
        "source": source,
        "revision": located.revision,
        "source_files": [file.relative_to(located.folder).as_posix() for file in located.files],
        "source_sha256": sha256,
        "options": hints.given(),
    }
    with replacing_folder(folder) as made:
        head.save(made)
        if (folder / LABELS).exists():
            logger.warning("the labels of %s go with the SAE that it held; label it again", folder)
    return folder


def _converted_earlier(source: str, hints: Hints) -> Path | None:
    for card in sorted((cache_root() / "sae").glob(f"*/{CARD}"), key=lambda path: -path.stat().st_mtime):
        values = read_json(card)
        if values.get("source") == source and values.get("options") == hints.given():
            return card.parent
    return None


def _fitting(folder: Path, d_model: int | None) -> Path:
    _require_fit(read_json(folder / CARD).get("state_size"), d_model, folder)
    return folder


def _require_fit(state_size: object, d_model: int | None, what: str | Path) -> None:
    if d_model is not None and state_size != d_model:
        raise InputError(
            f"{what} reads states of size {state_size}, but the backbone's have size {d_model}; "
            "take an SAE that was trained on this backbone"
        )
