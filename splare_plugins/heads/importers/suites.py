"""The table of suites: which files make one SAE of each, and who reads them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from fnmatch import fnmatchcase
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from torch import Tensor

from splare_plugins.errors import InputError
from splare_plugins.heads.importers import (
    dictionary_learning,
    gemma_scope,
    goodfire,
    openmoss,
    qwen_scope,
    saelens,
    sparsify,
)
from splare_plugins.heads.importers.fold import Hints
from splare_plugins.heads.sae import SparseAutoencoder


class Library(NamedTuple):
    """The library that a suite's SAEs are trained and used with.

    Attributes:
        package: to import.
        extra: of ours that brings it.
        open: from folder and hints to what gives the activations of states.
    """

    package: str
    extra: str
    open: Callable[[Path, Hints], Callable[[Tensor], Tensor]]

    def installed(self) -> bool:
        """Whether it can be imported."""
        return find_spec(self.package) is not None


class Suite(NamedTuple):
    """One public format.

    Attributes:
        name: what ``--suite`` takes.
        files: patterns of the files of one SAE, relative to its folder; no two suites share all of theirs.
        read: makes the record from such a folder.
        optional: further files that are read where they are there.
        library: that reads them too, where there is one that can be asked.
    """

    name: str
    files: tuple[str, ...]
    read: Callable[[Path, Hints], SparseAutoencoder]
    optional: tuple[str, ...] = ()
    library: Library | None = None

    def importable(self, names: Collection[str]) -> bool:
        """Whether a folder with files of these relative names holds one SAE of this suite, or several layers."""
        return all(any(fnmatchcase(name, pattern) for name in names) for pattern in self.files)


SUITES = {
    suite.name: suite
    for suite in (
        Suite(openmoss.NAME_1, openmoss.FILES_1, openmoss.read_llama_scope),
        Suite(gemma_scope.NAME_1, gemma_scope.FILES_1, gemma_scope.read_gemma_2),
        Suite(gemma_scope.NAME_2, gemma_scope.FILES_2, gemma_scope.read_gemma_3, gemma_scope.OPTIONAL_2),
        Suite(qwen_scope.NAME, qwen_scope.FILES, qwen_scope.read),
        Suite(
            saelens.NAME,
            saelens.FILES,
            saelens.read,
            saelens.OPTIONAL,
            Library("sae_lens", "saelens", saelens.open_library),
        ),
        Suite(
            sparsify.NAME, sparsify.FILES, sparsify.read, library=Library("sparsify", "train", sparsify.open_library)
        ),
        Suite(dictionary_learning.NAME, dictionary_learning.FILES, dictionary_learning.read),
        Suite(goodfire.NAME_1, goodfire.FILES_1, goodfire.read),
        Suite(goodfire.NAME_2, goodfire.FILES_2, goodfire.read),
        Suite(openmoss.NAME_2, openmoss.FILES_2, openmoss.read_llamascopium),
    )
}


def choose_suite(names: Collection[str], *, suite: str | None, where: str) -> Suite:
    """The suite of a folder with files of these relative names.

    Raises:
        InputError: if ``suite`` is unknown or does not fit, or no suite fits.
    """
    if suite is not None and suite not in SUITES:
        raise InputError(f"there is no suite {suite!r}; this version reads {', '.join(SUITES)}")
    fitting = [each for each in SUITES.values() if suite in (None, each.name) and each.importable(names)]
    if fitting:
        return fitting[0]
    if suite is not None:
        raise InputError(f"{where} is not an SAE of {suite}, which needs {' and '.join(SUITES[suite].files)}")
    found = ", ".join(sorted(names)[:5]) or "nothing"
    raise InputError(
        f"{where} holds {found}, which is not an SAE of {', '.join(SUITES)}; name the folder of one SAE "
        "(`splare sae list` shows examples)"
    )


def sae_folder(path: str) -> tuple[str, int | None]:
    """The folder of the SAE that a file belongs to, and the layer its name gives; a folder stays what it is."""
    for suite in SUITES.values():
        for pattern in (*suite.files, *suite.optional):
            if fnmatchcase(path, f"*/{pattern}") or fnmatchcase(path, pattern):
                folder = PurePosixPath(path).parents[len(PurePosixPath(pattern).parts) - 1]
                return str(folder), layer_of_file(pattern, PurePosixPath(path).name)
    return path, None


def layer_of_file(pattern: str, name: str) -> int | None:
    """The layer in a file's name, where the last ``*`` of its pattern stands for it; ``None`` where none does."""
    if "*" not in pattern:
        return None
    before, after = (re.escape(part).replace(r"\*", ".*") for part in pattern.rsplit("*", 1))
    found = re.fullmatch(rf"{before}(\d+){after}", name)
    return int(found[1]) if found else None
