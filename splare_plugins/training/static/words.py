"""Frequent words as tokens of their own, which the model's tokenizer takes to pieces.

A table looks at each token alone, so it blurs a word in pieces more than a word that is whole. What a word is, the
table's tokenizer knows: it has the words among its pieces, with scores that make it take them whole.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import cache
from math import log
from typing import NamedTuple

from tokenizers import Tokenizer

from splare_plugins.errors import InputError

_LONGEST = 40
_JOINERS = "-'\u2019\u200c\u200d"
_AHEAD = 0.01


class Word(NamedTuple):
    """A word, as the pre-tokenizer gives it, and what the model's tokenizer makes of it."""

    piece: str
    score: float
    tokens: tuple[int, ...]


def frequent_words(texts: Sequence[str], tokenizer: Tokenizer, *, most: int, seen: int) -> list[Word]:
    """Words of texts that a tokenizer takes to pieces, the most frequent first.

    A word is of letters, with digits, hyphens and apostrophes; addresses, paths, numbers and code stay in pieces, so
    that a table holds nobody's.

    Args:
        texts: where they are counted.
        tokenizer: of the model.
        most: how many.
        seen: least number of times that a word occurs.

    Raises:
        InputError: for a tokenizer that takes no words: any but Unigram ones that mark the beginnings of words.
    """
    vocab, mark = _unigram(tokenizer)
    normalised = tokenizer.normalizer.normalize_str if tokenizer.normalizer else str
    counts = Counter(word.strip(_marks()) for text in texts for word in normalised(text).split())
    total = counts.total()
    common = [(word, count) for word, count in counts.most_common() if count >= seen and _is_word(word)]
    known = {piece for piece, _ in vocab}
    words: list[Word] = []
    for (word, count), encoding in zip(
        common, tokenizer.encode_batch([word for word, _ in common], add_special_tokens=False), strict=True
    ):
        if len(encoding.ids) > 1 and mark + word not in known and len(words) < most:
            # Just ahead of its pieces, so that it is taken in place of them.
            pieces = sum(vocab[token][1] for token in encoding.ids) + _AHEAD
            words.append(Word(mark + word, max(log(count / total), pieces), tuple(encoding.ids)))
    return words


def with_words(tokenizer: Tokenizer, words: Sequence[Word]) -> Tokenizer:
    """The tokenizer with words behind its own tokens."""
    _unigram(tokenizer)
    state = json.loads(tokenizer.to_str())
    state["model"]["vocab"] += [[word.piece, word.score] for word in words]
    return Tokenizer.from_str(json.dumps(state, ensure_ascii=False))


def _unigram(tokenizer: Tokenizer) -> tuple[list[tuple[str, float]], str]:
    """Pieces with their scores, and the mark of a word's beginning."""
    state = json.loads(tokenizer.to_str())
    kind, splits = state["model"]["type"], state["pre_tokenizer"] or {}
    vocab = state["model"]["vocab"]
    if kind != "Unigram" or splits.get("type") != "Metaspace" or len(vocab) != tokenizer.get_vocab_size():
        raise InputError(
            f"words: the model has a {kind} tokenizer, and only SentencePiece's Unigram ones take whole words; omit it"
        )
    return [(piece, score) for piece, score in vocab], splits["replacement"]


def _is_word(word: str) -> bool:
    plain = all(char in _JOINERS or unicodedata.category(char)[0] in "LMN" for char in word)
    return plain and 1 < len(word) <= _LONGEST and any(map(str.isalpha, word))


@cache
def _marks() -> str:
    """All punctuation and symbols."""
    return "".join(char for char in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(char)[0] in "PS")
