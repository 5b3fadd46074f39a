"""How well labels predict firing on contexts that they were not made from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from splare_plugins.latents.firing import Firing
from splare_plugins.latents.judge import (
    centred,
    compare,
    compare_marked,
    decide,
    draw_choices,
    read_meanings,
    words_found,
)
from splare_plugins.machine import Progress
from splare_plugins.model.encoder import Encoder


class Verdict(NamedTuple):
    """What the forced choice found."""

    scores: dict[int, float]
    """Of each latent that fired on a held-out context, the share of right choices against all others."""
    share: float | None
    """Of the choices among the most used latents; ``None`` where there were none."""
    marked: float | None
    """Likewise where the word at the peak is marked."""


def put_to_test(
    model: Encoder,
    texts: Sequence[str],
    firing: Firing,
    held_out: np.ndarray,
    names: Sequence[str],
    most: Sequence[int],
    *,
    seed: int,
    on_progress: Progress | None = None,
) -> Verdict:
    """Put every label to the test of :mod:`splare_plugins.latents.judge`.

    Args:
        model: reads contexts and labels; no latent of it is looked at.
        texts: all contexts.
        firing: of these.
        held_out: which of them no label was made from, bool.
        names: a label a latent, empty where it has none.
        most: the latents that are tried among one another.
        seed: of the choices.
        on_progress: called with 1 after each text that was read.
    """
    rows = np.flatnonzero(held_out)
    labelled = [latent for latent, name in enumerate(names) if name]
    if not len(rows) or not most:
        return Verdict({}, None, None)
    asked = [texts[row] for row in rows.tolist()]
    read = read_meanings(model, asked, on_progress=on_progress)
    labels = read_meanings(model, [names[latent] for latent in labelled], on_progress=on_progress)
    centre = read.mean(0)
    contexts, labels = centred(read, centre), centred(labels, labels.mean(0))
    found = words_found([names[latent] for latent in labelled], asked)
    fired = csr_array(firing.weights[rows][:, labelled])
    choices = draw_choices(fired, seed=seed)
    right = decide(choices, found, compare(choices, contexts, labels))
    count = np.bincount(choices.right, minlength=len(labelled))
    shares = np.bincount(choices.right, weights=right, minlength=len(labelled)) / np.maximum(count, 1)
    scores = {latent: float(shares[number]) for number, latent in enumerate(labelled) if count[number]}
    columns = np.searchsorted(labelled, most)
    among = draw_choices(csr_array(fired[:, columns]), seed=seed)
    if not len(among.right):
        return Verdict(scores, None, None)
    found, labels = found[:, columns], labels[columns]
    plain = decide(among, found, compare(among, contexts, labels))
    starts = _starts(firing, rows[among.contexts], np.asarray(most)[among.right])
    marked = decide(among, found, compare_marked(model, asked, among, starts, labels, centre, on_progress=on_progress))
    return Verdict(scores, round(float(plain.mean()), 4), round(float(marked.mean()), 4))


def _starts(firing: Firing, rows: np.ndarray, latents: np.ndarray) -> np.ndarray:
    """Where the tokens begin at which latents peaked in contexts."""
    weights = firing.weights
    first, last = weights.indptr[rows], weights.indptr[rows + 1]
    places = [
        start + np.searchsorted(weights.indices[start:end], latent)
        for start, end, latent in zip(first, last, latents, strict=True)
    ]
    return firing.starts[np.array(places, dtype=np.int64)]
