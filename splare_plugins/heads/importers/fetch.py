"""From what the user names to the local files of one SAE: a folder, or a place on the hub."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from splare_plugins.errors import InputError
from splare_plugins.heads.importers.fold import Hints
from splare_plugins.heads.importers.suites import Suite, choose_suite, layer_of_file, sae_folder
from splare_plugins.machine.hub import hub_errors

HUB = "hf:"
HUB_SOURCE = re.compile(r"(?P<repo>[^/@#]+/[^/@#]+)(?P<path>/[^@#]*)?(?:@(?P<revision>[^#]+))?(?:#(?P<selector>.+))?")


class Located(NamedTuple):
    """The files of one SAE.

    Attributes:
        folder: holds them.
        files: they themselves, the config before the weights.
        suite: reads them.
        hints: the user's, with the public name.
        revision: commit of the hub repository; ``None`` for a local folder.
    """

    folder: Path
    files: list[Path]
    suite: Suite
    hints: Hints
    revision: str | None


def locate(source: str, *, suite: str | None, hints: Hints) -> Located:
    """The local files that ``source`` means, fetched from the hub if need be.

    Args:
        source: a folder or file, or ``hf:org/repo[/path][@revision][#selector]``; the selector is a part of the one
            folder or file name wanted, like ``L26R`` or ``layer20``.
        suite: name of the suite where the files alone do not tell.
        hints: what else the user says.

    Raises:
        InputError: if there is no such place, or it holds no SAE.
        HubUnreachableError: without a network.
    """
    if source.startswith(HUB):
        return _locate_on_hub(source, suite, hints)
    path = Path(source)
    if not path.exists():
        raise InputError(f"there is no folder {source!r}; give one, or hf:org/repo/path for the hub")
    folder_name, layer = sae_folder(str(path.absolute())) if path.is_file() else (str(path.absolute()), None)
    folder = Path(folder_name)
    if not folder.is_dir():
        raise InputError(f"{source} is not a file of a known SAE format; give the folder of one SAE")
    names = [file.relative_to(folder).as_posix() for glob in ("*", "*/*") for file in folder.glob(glob)]
    chosen = choose_suite(names, suite=suite, where=source)
    hints = replace(_with_layer(hints, layer, source), name=hints.name or str(folder))
    needed, layer = _needed(chosen, names, hints)
    return Located(folder, [folder / name for name in needed], chosen, replace(hints, layer=layer), None)


def _locate_on_hub(source: str, suite: str | None, hints: Hints) -> Located:
    match = HUB_SOURCE.fullmatch(source.removeprefix(HUB))
    if match is None:
        raise InputError(
            f"{source!r} is not a hub source; write hf:org/repo/path@revision or hf:org/repo#part-of-a-name"
        )
    repo, path = match["repo"], (match["path"] or "").strip("/")
    from huggingface_hub import HfApi

    with hub_errors(repo):
        info = HfApi().model_info(repo, revision=match["revision"])
    commit, everything = str(info.sha), [sibling.rfilename for sibling in info.siblings or []]
    if match["selector"]:
        path = _select(everything, path, match["selector"], source)
    path, layer = sae_folder(path) if path in everything else (path, None)
    path = "" if path == "." else path
    prefix = f"{path}/" if path else ""
    names = [name.removeprefix(prefix) for name in everything if name.startswith(prefix)]
    if not names:
        raise InputError(f"the hub repository {repo} has no folder {path!r} at {match['revision'] or 'main'}")
    chosen = choose_suite(names, suite=suite, where=source)
    hints = replace(_with_layer(hints, layer, source), name=f"{repo}/{path}")
    needed, layer = _needed(chosen, names, hints)
    files = [_download(repo, prefix + name, commit) for name in needed]
    folder = files[-1].parents[len(Path(needed[-1]).parts) - 1]
    return Located(folder, files, chosen, replace(hints, layer=layer), commit)


def _needed(suite: Suite, names: list[str], hints: Hints) -> tuple[list[str], int | None]:
    """The files to read, and their layer as far as it is known; a pattern stands for the file of one layer."""
    if not any("*" in pattern for pattern in suite.files):
        return [*suite.files, *(name for name in suite.optional if name in names)], hints.layer
    (pattern,) = suite.files
    files = {number: name for name in names if (number := layer_of_file(pattern, name)) is not None}
    layer = next(iter(files)) if hints.layer is None and len(files) == 1 else hints.layer
    if layer not in files:
        there = ", ".join(map(str, sorted(files)))
        asked = "which of them is meant" if layer is None else f"layer {layer} is not among them"
        raise InputError(f"{hints.name} holds SAEs of the layers {there}, {asked}; give one with --layer")
    return [files[layer]], layer


def _with_layer(hints: Hints, named: int | None, source: str) -> Hints:
    """The hints with the layer that a file's name gives."""
    if None not in (named, hints.layer) and named != hints.layer:
        raise InputError(f"{source} is the file of layer {named}, and --layer says {hints.layer}; omit it")
    return replace(hints, layer=named if hints.layer is None else hints.layer)


def _select(everything: list[str], path: str, selector: str, source: str) -> str:
    """The one folder, or file, below ``path`` whose name has ``selector`` as a part of its own."""
    part = re.compile(rf"(?:^|[-_.]){re.escape(selector)}(?:[-_.]|$)")
    found = set()
    for name in everything:
        if name.startswith(f"{path}/" if path else ""):
            pieces = name.split("/")
            hits = [number for number, piece in enumerate(pieces) if part.search(piece)]
            found |= {"/".join(pieces[: hits[0] + 1])} if hits else set()
    if len(found) != 1:
        raise InputError(
            f"{source!r} selects {len(found)} places in the repository"
            + (f" ({', '.join(sorted(found)[:4])})" if found else "")
            + "; name the folder itself: hf:org/repo/folder"
        )
    return found.pop()


def _download(repo: str, name: str, commit: str) -> Path:
    from huggingface_hub import hf_hub_download

    with hub_errors(f"{repo}/{name}"):
        return Path(hf_hub_download(repo, name, revision=commit))
