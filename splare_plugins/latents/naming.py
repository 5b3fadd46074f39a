"""Names of latents: the words that tell their contexts from all others.

A word's score for a latent is ``sqrt(p) * log(p / q)``: ``p`` is the share of the latent's activation in contexts
that have the word, those in which it is the word at the peak counting four times, and ``q`` the share of all contexts
that have it (a weighted log ratio of frequencies, like class-based TF-IDF). So a word counts that is common where the
latent fires and rare elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from splare_plugins.latents.firing import Firing, fire
from splare_plugins.latents.words import word_around, words
from splare_plugins.machine import Progress
from splare_plugins.model.encoder import Encoder

FORMS = " \u00b7 "
"""Between forms of one concept, as in ``three · drei · 三``."""
CONCEPTS = " / "
"""Between concepts."""
_CANDIDATES = 12
_FEWEST = 3
"""Contexts in which a word must stand to be in a label."""
_SMOOTH = 1e-4
# A word at the peak counts once as any word of the context, and three times more. What is at the peak is one of some
# fifteen words of a context, so the usual share grows by a fifth.
_PEAK = 3
_USUAL = 1.2
RARE = 3
"""Contexts without which a latent has no label."""
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


def name_latents(
    model: Encoder,
    texts: Sequence[str],
    firing: Firing,
    held_out: np.ndarray,
    *,
    on_progress: Progress | None = None,
) -> list[str]:
    """A label of each latent from the contexts that are not held out; empty where it fired too seldom.

    Args:
        model: says which words are alike, by what they fire alone.
        texts: all contexts.
        firing: of these.
        held_out: which of them are left out, bool.
        on_progress: called with 1 after each word that was encoded.
    """
    seen = np.flatnonzero(~held_out)
    own = csr_array(firing.weights[seen])
    vocabulary = Vocabulary.of([texts[row] for row in seen.tolist()])
    enough = np.bincount(own.indices, minlength=own.shape[1]) >= RARE
    peaks = _peak_words(texts, firing, seen, vocabulary)
    found = best_words(own, vocabulary, peaks)
    best = [chosen if enough[latent] else [] for latent, chosen in enumerate(found)]
    used = sorted({word for chosen in best for word, _ in chosen})
    place = {word: row for row, word in enumerate(used)}
    spelt = [vocabulary.names[word] for word in used]
    vectors = _alone(model, spelt, on_progress)
    names = []
    for chosen in best:
        rows = [place[word] for word, _ in chosen]
        block = vectors[rows]
        alike = (block @ block.T).toarray()
        names.append(spell([spelt[row] for row in rows], [score for _, score in chosen], alike) if rows else "")
    return names


def _peak_words(texts: Sequence[str], firing: Firing, seen: np.ndarray, vocabulary: Vocabulary) -> csr_array:
    """Activation of each latent at each word, shape ``[latents, words]``."""
    number = {name: word for word, name in enumerate(vocabulary.names)}
    latents: list[int] = []
    found: list[int] = []
    values: list[float] = []
    weights = firing.weights
    for row in seen.tolist():
        for entry in range(weights.indptr[row], weights.indptr[row + 1]):
            start, end = word_around(texts[row], int(firing.starts[entry]), int(firing.ends[entry]))
            for word in set(words(texts[row][start:end])) & number.keys():
                latents.append(int(weights.indices[entry]))
                found.append(number[word])
                values.append(float(weights.data[entry]))
    shape = weights.shape[1], len(number)
    return csr_array((np.array(values, np.float32), (latents, found)), shape=shape)


def best_words(
    weights: csr_array, vocabulary: Vocabulary, peaks: csr_array, *, count: int = _CANDIDATES
) -> list[list[tuple[int, float]]]:
    """For each latent its best words with their scores, falling.

    Args:
        weights: activations, shape ``[contexts, latents]``.
        vocabulary: of the same contexts.
        peaks: activations at words, shape ``[latents, words]``.
        count: words of a latent.
    """
    total = np.asarray(weights.sum(0)).ravel()
    everywhere = np.asarray(vocabulary.present.mean(0)).ravel() * _USUAL
    together = csr_array(weights.T @ vocabulary.present + _PEAK * peaks)
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


def _alone(model: Encoder, names: Sequence[str], on_progress: Progress | None) -> csr_array:
    """What each word fires on its own, rows of length 1."""
    weights = fire(model, names, on_progress=on_progress).weights
    lengths = np.sqrt(np.asarray(weights.multiply(weights).sum(1)).ravel())
    weights.data = weights.data / np.repeat(np.maximum(lengths, 1e-9), np.diff(weights.indptr))
    return weights
