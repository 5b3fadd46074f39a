"""The words on which latents fired."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from splare_plugins.model.explanation.records import Firing

if TYPE_CHECKING:
    from splare_plugins.config import Side


class _Model(Protocol):
    def token_weights(self, text: str, side: Side, latents: np.ndarray) -> tuple[np.ndarray, np.ndarray]: ...


def fired_words(model: _Model, text: str, side: Side, latents: np.ndarray) -> list[list[Firing]]:
    """For each latent every word on which it fired, strongest first.

    Args:
        model: an encoder.
        text: what it reads.
        side: as what.
        latents: ids, shape ``[n]``.
    """
    if not len(latents):
        return []
    weights, spans = model.token_weights(text, side, latents)
    words = [widen(text, *span) for span in spans.tolist()]
    return [_firings(text, words, column) for column in weights.T]


def _firings(text: str, words: list[tuple[int, int]], weights: np.ndarray) -> list[Firing]:
    """Of one latent: the parts of a word count as the strongest of them."""
    strongest: dict[tuple[int, int], float] = {}
    for token in np.flatnonzero(weights > 0).tolist():
        strongest[words[token]] = max(strongest.get(words[token], 0), float(weights[token]))
    peak = max(strongest.values(), default=1)
    ranked = sorted(strongest.items(), key=lambda item: (-item[1], item[0]))
    return [
        Firing(start=start, end=end, word=text[start:end], strength=round(weight / peak, 3))
        for (start, end), weight in ranked
    ]


def widen(text: str, start: int, end: int) -> tuple[int, int]:
    """The word around a token; scripts written without blanks keep the token, special tokens have no word."""
    if end == 0:
        return 0, 0
    while start < end and text[start].isspace():
        start += 1
    while start > 0 and _joins(text[start - 1]) and (start == end or _joins(text[start])):
        start -= 1
    while end < len(text) and _joins(text[end]) and _joins(text[end - 1]):
        end += 1
    return start, end


def _joins(character: str) -> bool:
    unspaced = "\u0e00" <= character <= "\u0eff" or "\u3040" <= character <= "\u9fff" or character >= "\uf900"
    return (character.isalnum() or character in "'\u2019-_") and not unspaced
