"""Words of a text in any script, and the word around a token."""

from __future__ import annotations

import re

# Scripts written without blanks, in which two characters are about a word: Thai, Lao, Khmer, kana, Han.
UNSPACED = "\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_JOINERS = "['\u2019\u2010-]"
_RUN = re.compile(rf"[{UNSPACED}]+|(?:[^\W_{UNSPACED}]|[\u0300-\u036f\u0900-\u0dff])+(?:{_JOINERS}[^\W_{UNSPACED}]+)*")
_IS_UNSPACED = re.compile(rf"[{UNSPACED}]")

Span = tuple[int, int]


def is_unspaced(text: str) -> bool:
    """Whether a word is of a script that is written without blanks."""
    return _IS_UNSPACED.match(text) is not None


def word_spans(text: str) -> list[Span]:
    """First and last + 1 character of each word; of scripts without blanks, of each pair of characters."""
    spans: list[Span] = []
    for match in _RUN.finditer(text):
        start, end = match.span()
        if is_unspaced(match.group()) and end - start > 2:
            spans += [(first, first + 2) for first in range(start, end - 1)]
        else:
            spans.append((start, end))
    return spans


def words(text: str) -> list[str]:
    """The words of a text, in small letters."""
    return [text[start:end].casefold() for start, end in word_spans(text)]


def word_around(text: str, start: int, end: int) -> Span:
    """The word that a token is a part of; a token that is no word, or of a script without blanks, as it is."""
    while start < end and text[start].isspace():
        start += 1
    for match in _RUN.finditer(text):
        if match.start() < end and start < match.end():
            return (start, end) if is_unspaced(match.group()) else match.span()
    return start, end
