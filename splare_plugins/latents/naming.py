"""Names of latents: the words that tell their contexts from all others.

A word's score for a latent is ``sqrt(p) * log(p / q)``: ``p`` is the share of the latent's activation in contexts that
have the word, ``q`` the share of all contexts that have it (a weighted log ratio of frequencies, like class-based
TF-IDF). So a word counts that is common where the latent fires and rare elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from splare_plugins.latents.words import words

FORMS = " \u00b7 "
"""Between forms of one concept, as in ``three · drei · 三``."""
CONCEPTS = " / "
"""Between concepts."""
_CANDIDATES = 12
_FEWEST = 3
"""Contexts in which a word must stand to be in a label."""
_SMOOTH = 1e-4
_ALIKE = 0.35
"""Cosine of two words' own latents from which they are forms of one concept."""
_SHOWN = 6
_FORMS = 4
_STEM = 5


class Vocabulary(NamedTuple):
    """Words of contexts."""

    names: list[str]
    present: csr_array
    """1 where a context has a word, float32, shape ``[contexts, words]``."""

    @classmethod
    def of(cls, texts: Sequence[str]) -> Vocabulary:
        """The words that stand in at least :data:`_FEWEST` of the texts."""
        numbers: dict[str, int] = {}
        rows = [sorted({numbers.setdefault(word, len(numbers)) for word in words(text)}) for text in texts]
        indptr = np.cumsum([0, *map(len, rows)])
        indices = np.concatenate([np.array(row, dtype=np.int64) for row in rows])
        present = csr_array((np.ones(len(indices), np.float32), indices, indptr), shape=(len(texts), len(numbers)))
        kept = np.flatnonzero(np.asarray(present.sum(0)).ravel() >= _FEWEST)
        names = list(numbers)
        return cls([names[each] for each in kept], csr_array(present[:, kept]))


def best_words(
    weights: csr_array, vocabulary: Vocabulary, *, count: int = _CANDIDATES
) -> list[list[tuple[int, float]]]:
    """For each latent its best words with their scores, falling.

    Args:
        weights: activations, shape ``[contexts, latents]``.
        vocabulary: of the same contexts.
        count: words of a latent.
    """
    total = np.asarray(weights.sum(0)).ravel()
    everywhere = np.asarray(vocabulary.present.mean(0)).ravel()
    together = csr_array(weights.T @ vocabulary.present)
    found = []
    for latent in range(weights.shape[1]):
        part = slice(together.indptr[latent], together.indptr[latent + 1])
        names, share = together.indices[part], together.data[part] / max(total[latent], 1e-9)
        scores = np.sqrt(share) * np.log((share + _SMOOTH) / (everywhere[names] + _SMOOTH))
        order = np.argsort(-scores, kind="stable")[:count]
        found.append([(int(names[each]), float(scores[each])) for each in order if scores[each] > 0])
    return found


def spell(names: Sequence[str], scores: Sequence[float], alike: np.ndarray) -> str:
    """A label from words: concepts by their scores, each with its forms in several languages.

    Args:
        names: words, the best first.
        scores: of these.
        alike: how like one another the model finds them, shape ``[words, words]``.
    """
    concepts: list[list[int]] = []
    for number in range(len(names)):
        own = next((concept for concept in concepts if alike[number, concept[0]] >= _ALIKE), None)
        if own is None:
            concepts.append([number])
        else:
            own.append(number)
    concepts.sort(key=lambda concept: -sum(scores[number] for number in concept))
    parts: list[str] = []
    left = _SHOWN
    for concept in concepts:
        forms = _forms([names[number] for number in concept])[: min(left, _FORMS)]
        parts += [FORMS.join(forms)] if forms else []
        left -= len(forms)
    return CONCEPTS.join(parts)


def _forms(names: Sequence[str]) -> list[str]:
    """Words that are no inflections of one before them."""
    kept: list[str] = []
    for name in names:
        if not any(name[:_STEM] == other[:_STEM] or name in other or other in name for other in kept):
            kept.append(name)
    return kept


def alone(names: Sequence[str], encode: Callable[[Sequence[str]], csr_array]) -> csr_array:
    """What each word fires on its own, rows of length 1."""
    weights = encode(names)
    lengths = np.sqrt(np.asarray(weights.multiply(weights).sum(1)).ravel())
    weights.data = weights.data / np.repeat(np.maximum(lengths, 1e-9), np.diff(weights.indptr))
    return weights
