"""Forced choice: does a context belong to latent X or to latent Y, by their labels alone?

The judge is a reader that knows no latents. It counts the words of both labels in the context, and takes the label
that has more. Where both have as many, mostly none, it compares meanings: the mean of the backbone's token states, of
the label and of the context, each without the mean of its kind. It never sees the head, so what X and Y did in the
context is not known to it. A coin would be right in half of the choices.

The context is whole and plain in the one test; in the other the word at the latent's peak is marked, as it is where a
person is shown the context, and what is compared is the meaning of the marked word and of four tokens on either side.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_array

from splare_plugins.config import Side
from splare_plugins.latents.words import words
from splare_plugins.machine import Progress
from splare_plugins.model.encoder import Encoder

WINDOW = 4
"""Tokens on either side of the marked one."""
TRIALS = 20
"""Choices a latent: held-out contexts, each with another latent that did not fire there."""


class Choices(NamedTuple):
    """Questions to a judge; all three of shape ``[choices]``."""

    contexts: np.ndarray
    """Row of the context."""
    right: np.ndarray
    """The latent that fired there, as a number in the list of latents."""
    wrong: np.ndarray
    """One that did not."""


def draw_choices(fired: csr_array, *, trials: int = TRIALS, seed: int) -> Choices:
    """Questions about contexts in which latents fired, every context and every other latent with the same chance.

    Args:
        fired: held-out contexts by the latents that are asked about; a latent fired where it is not 0.
        trials: questions a latent, where it fired so often.
        seed: of the draw.
    """
    chance = np.random.default_rng(seed)
    by_latent, by_context = fired.tocsc(), fired.tocsr()
    parts: list[tuple[int, int, int]] = []
    for latent in range(fired.shape[1]):
        rows = by_latent.indices[by_latent.indptr[latent] : by_latent.indptr[latent + 1]]
        for row in chance.choice(rows, min(trials, len(rows)), replace=False):
            here = by_context.indices[by_context.indptr[row] : by_context.indptr[row + 1]]
            others = np.setdiff1d(np.arange(fired.shape[1]), here, assume_unique=True)
            if len(others):
                parts.append((int(row), latent, int(chance.choice(others))))
    table = np.array(parts, dtype=np.int64).reshape(-1, 3)
    return Choices(*table.T)


def decide(choices: Choices, found: np.ndarray, nearer: np.ndarray) -> np.ndarray:
    """1 where the right latent's label fits the context better, 0.5 where both fit as well, else 0.

    Args:
        choices: the questions.
        found: how many words of each latent's label are in each context, shape ``[contexts, latents]``.
        nearer: by how much the right latent's label is nearer to the context in meaning, shape ``[choices]``.
    """
    row, right, wrong = choices
    more = found[row, right].astype(np.int64) - found[row, wrong]
    ahead = np.where(more != 0, more, nearer)
    return np.where(ahead > 0, 1.0, np.where(ahead < 0, 0.0, 0.5))


def centred(meanings: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Without the common part, and of length 1."""
    apart = meanings - centre
    unit: np.ndarray = apart / np.maximum(np.linalg.norm(apart, axis=1, keepdims=True), 1e-9)
    return unit


def words_found(labels: Sequence[str], texts: Sequence[str]) -> np.ndarray:
    """How many different words of each label stand in each text, int16, shape ``[texts, labels]``."""
    owners: dict[str, list[int]] = {}
    for number, label in enumerate(labels):
        for word in set(words(label)):
            owners.setdefault(word, []).append(number)
    found = np.zeros((len(texts), len(labels)), np.int16)
    for row, text in enumerate(texts):
        for word in set(words(text)):
            found[row, owners.get(word, [])] += 1
    return found


@torch.inference_mode()
def read_meanings(
    model: Encoder, texts: Sequence[str], side: Side = "document", *, on_progress: Progress | None = None
) -> np.ndarray:
    """Mean of the states of each text's tokens, float32, shape ``[texts, d]``; 0 for a text without any."""
    means = []
    for text in texts:
        states, _ = model.pooled_tokens(text, side)
        means.append(states.float().mean(0).cpu().numpy() if len(states) else None)
        if on_progress is not None:
            on_progress(1)
    size = next((len(mean) for mean in means if mean is not None), 1)
    return np.stack([np.zeros(size, np.float32) if mean is None else mean for mean in means])


def compare(choices: Choices, contexts: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """By how much the right label is nearer to the context, as :func:`decide` takes it.

    Args:
        choices: the questions.
        contexts: meanings of the contexts, shape ``[contexts, d]``, of length 1.
        labels: of the labels, shape ``[latents, d]``, of length 1.
    """
    row, right, wrong = choices
    ahead: np.ndarray = ((labels[right] - labels[wrong]) * contexts[row]).sum(1)
    return ahead


@torch.inference_mode()
def compare_marked(
    model: Encoder,
    texts: Sequence[str],
    choices: Choices,
    starts: np.ndarray,
    labels: np.ndarray,
    centre: np.ndarray,
    *,
    on_progress: Progress | None = None,
) -> np.ndarray:
    """Likewise, of the surroundings of the token that begins at the ``starts`` of each choice.

    Args:
        model: the reader.
        texts: the contexts.
        choices: the questions.
        starts: character at which the marked token begins, shape ``[choices]``.
        labels: meanings of the labels, shape ``[latents, d]``, of length 1.
        centre: what is taken from every meaning, shape ``[d]``.
        on_progress: called with 1 after each context.
    """
    ahead = np.zeros(len(starts))
    order = np.argsort(choices.contexts, kind="stable")
    for group in np.split(order, np.flatnonzero(np.diff(choices.contexts[order])) + 1) if len(order) else []:
        states, spans = model.pooled_tokens(texts[int(choices.contexts[group[0]])], "document")
        read = states.float().cpu().numpy()
        for choice in group.tolist():
            token = int(np.abs(spans[:, 0] - starts[choice]).argmin())
            near = read[max(0, token - WINDOW) : token + WINDOW + 1].mean(0, keepdims=True)
            unlike = labels[choices.right[choice]] - labels[choices.wrong[choice]]
            ahead[choice] = float(centred(near, centre)[0] @ unlike)
        if on_progress is not None:
            on_progress(1)
    return ahead
