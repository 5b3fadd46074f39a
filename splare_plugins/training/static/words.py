"""Frequent words as tokens of their own, which the model's tokenizer takes to pieces.

A table looks at each token alone, so it blurs a word in pieces more than a word that is whole. What a word is, the
table's tokenizer knows: it has the words among its pieces, with scores that make it take them whole.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from math import log
from pathlib import Path
from typing import NamedTuple

from tokenizers import Tokenizer

from splare_plugins.errors import InputError

_LONGEST = 40
_JOINERS = "-'\u2019\u200c\u200d"
_AHEAD = 0.01
_EULER = 0.577


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
    normalised = _normaliser(tokenizer)
    counts = Counter(word.strip(_marks()) for text in texts for word in normalised(text).split())
    total = counts.total()
    common = [(word, log(count / total)) for word, count in counts.most_common() if count >= seen and _is_word(word)]
    return _in_pieces(common, tokenizer)[:most]


def listed_words(lists: Sequence[str | Path], tokenizer: Tokenizer, besides: Sequence[Word] = ()) -> list[Word]:
    """Words of files that a tokenizer takes to pieces, one a line, the most frequent of each file first.

    How frequent a word is, its place tells: the share of the word at place r is about 1 / (r (ln n + 0.577)), as Zipf
    has it.

    Args:
        lists: the files.
        tokenizer: of the model.
        besides: words that are there already.

    Raises:
        InputError: for a file that cannot be read, a line that is no word, or a tokenizer that takes no words.
    """
    normalised, held = _normaliser(tokenizer), {word.piece for word in besides}
    made: list[Word] = []
    for path in lists:
        # A joiner of zero width may be a blank to the tokenizer, which then reads two words.
        listed = list(dict.fromkeys(word for line in _lines(Path(path)) for word in normalised(line).split()))
        rank_one = log(log(len(listed) + 1) + _EULER)
        shares = [(word, -log(rank) - rank_one) for rank, word in enumerate(listed, 1)]
        found = [word for word in _in_pieces(shares, tokenizer) if word.piece not in held]
        held.update(word.piece for word in found)
        made += found
    return made


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8") as stream:
            for number, line in enumerate(stream, 1):
                word = line.strip()
                if word and not _is_word(word):
                    raise InputError(
                        f"{path} line {number}: {word[:60]!r} is no word of 2 to {_LONGEST} letters, digits, hyphens "
                        "and apostrophes; remove it"
                    )
                if word:
                    yield word
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the words of {path} ({error}); word_lists names files of UTF-8") from error


def _in_pieces(shares: Sequence[tuple[str, float]], tokenizer: Tokenizer) -> list[Word]:
    """Those of words, given with the logarithm of their share, that a tokenizer takes to pieces."""
    vocab, mark = _unigram(tokenizer)
    known = {piece for piece, _ in vocab}
    encodings = tokenizer.encode_batch([word for word, _ in shares], add_special_tokens=False)
    words = []
    for (word, share), encoding in zip(shares, encodings, strict=True):
        if len(encoding.ids) > 1 and mark + word not in known:
            # Just ahead of its pieces, so that it is taken in place of them.
            pieces = sum(vocab[token][1] for token in encoding.ids) + _AHEAD
            words.append(Word(mark + word, max(share, pieces), tuple(encoding.ids)))
    return words


def _normaliser(tokenizer: Tokenizer) -> Callable[[str], str]:
    return tokenizer.normalizer.normalize_str if tokenizer.normalizer else str


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
