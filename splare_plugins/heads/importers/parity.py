"""An imported SAE beside the library that it comes from: what both make of the same states."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from splare_plugins.config import HEAD_CARD
from splare_plugins.errors import InputError, MissingPartError
from splare_plugins.heads.importers.fetch import Located, locate
from splare_plugins.heads.importers.fold import Hints
from splare_plugins.heads.importers.suites import SUITES, Library
from splare_plugins.heads.sae import SparseAutoencoder
from splare_plugins.machine.files import file_sha256, read_json

_AT_ONCE = 64


class Parity(NamedTuple):
    """How far the activations of an imported SAE are from those of its library."""

    relative: float
    """Largest difference, as a share of the library's largest activation."""
    absolute: float
    token: int
    """Where that is: row of the states."""
    latent: int
    ours: float
    """The activation there."""
    library: float
    active: int
    """Activations that are above zero in the library."""
    ties: int
    """Latents on the edge: one of both keeps them, and rounding alone decides; they are left out."""


def files_of(folder: Path, source: str | None = None) -> tuple[Located, Library]:
    """The files that a head was imported from, and the library that reads them.

    Args:
        folder: of the head.
        source: where the files are now; by default where they were.

    Raises:
        InputError: if they are not the same ones, or no library of theirs can be asked.
        MissingPartError: if it is not installed.
    """
    card = read_json(folder / HEAD_CARD)
    if "source_sha256" not in card:
        raise InputError(
            f"{folder} was not imported from a suite's files ({card.get('source') or 'its card names no source'}), so "
            "there is nothing to put beside it; give an SAE of `splare sae import`"
        )
    suite = SUITES[card["suite"]]
    if (library := suite.library) is None:
        known = " and ".join(name for name, each in SUITES.items() if each.library)
        raise InputError(f"no library is known here that reads the files of {suite.name}; parity is for {known}")
    if not library.installed():
        raise MissingPartError(
            f"parity with {suite.name} needs the package {library.package}; run: "
            f"pip install 'splare-plugins[{library.extra}]'"
        )
    hints = Hints(**{**card.get("options", {}), "suite": suite.name})
    try:
        located = locate(source or card["source"], suite=suite.name, hints=hints)
    except InputError as error:
        raise InputError(f"{error}; --source names the place where the files of {folder} are now") from error
    if file_sha256(*located.files) != card["source_sha256"]:
        raise InputError(
            f"{source or card['source']} does not hold the files that {folder} was made of; import them again, or "
            "name their place with --source"
        )
    return located, library


def open_library(located: Located, library: Library) -> Callable[[Tensor], Tensor]:
    """What gives the library's activations of states.

    Raises:
        InputError: if the library of today does not read these files; SAELens left out what older versions wrote.
    """
    try:
        return library.open(located.folder, located.hints)
    except (RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
        said = " ".join(str(error).split())
        raise InputError(f"the package {library.package} does not read {located.folder} ({said})") from error


def activations(head: SparseAutoencoder, states: Tensor) -> Tensor:
    """What each latent is worth on each token, before the saturation that makes weights of it."""
    values, edge = _values_and_edge(head, states)
    return torch.where(values >= edge if head.k is not None else values > edge, values, 0).relu()


def _values_and_edge(head: SparseAutoencoder, states: Tensor) -> tuple[Tensor, Tensor]:
    """All latents, and what one has to reach or pass to count."""
    values = torch.nn.functional.linear(states, head.W, head.b)
    edge = head.theta if head.k is None else values.topk(head.k, dim=-1).values[:, -1:]
    return values, edge


@torch.inference_mode()
def compare(
    head: SparseAutoencoder, library: Callable[[Tensor], Tensor], states: Tensor, *, tolerance: float
) -> Parity:
    """The largest difference on some states, both in float32.

    Args:
        head: imported.
        library: gives the activations of its own, shape ``[tokens, width]``.
        states: shape ``[tokens, d]``.
        tolerance: a latent that only one of both keeps, and that is no farther from the edge, is a tie.

    Raises:
        InputError: if the library has another number of latents.
    """
    theirs = torch.cat([library(part) for part in states.split(_AT_ONCE)])
    if theirs.shape != (len(states), head.width):
        raise InputError(f"the library has {theirs.shape[1]} latents, and this SAE {head.width}; import it again")
    largest = float(theirs.max()) or 1.0
    worst, ties = (-1.0, 0, 0), 0
    for first, part in zip(range(0, len(states), _AT_ONCE), states.split(_AT_ONCE), strict=True):
        other = theirs[first : first + len(part)]
        ours = activations(head, part)
        values, edge = _values_and_edge(head, part)
        tie = ((ours > 0) != (other > 0)) & ((values - edge).abs() <= tolerance * largest)
        ties += int(tie.sum())
        apart = (ours - other).abs().masked_fill(tie, 0)
        token, latent = divmod(int(apart.argmax()), head.width)
        worst = max(worst, (float(apart[token, latent]), -(first + token), latent))
    token, latent = -worst[1], worst[2]
    mine = float(activations(head, states[token : token + 1])[0, latent])
    own = float(theirs[token, latent])
    return Parity(worst[0] / largest, worst[0], token, latent, mine, own, int((theirs > 0).sum()), ties)
