"""Corpora to an evenly drawn sample of short contexts, some of them held out."""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from splare_plugins.errors import InputError

LONGEST = 280
"""Characters of a context."""
SHORTEST = 12
_ENOUGH = 120
_SENTENCE = re.compile(r"(?<=[.!?\u061f\u0964])\s+|(?<=[\u3002\uff01\uff1f])\s*|\n+")
_BLANKS = re.compile(r"\s+")
# One document in so many is kept for the test of the labels.
_HELD_OUT = 4


class Source(NamedTuple):
    """A corpus to take contexts from."""

    name: str
    """How contexts name it."""
    language: str
    """Of its texts; empty where that is not said."""
    documents: Callable[[], Iterable[tuple[str, str]]]
    """Gives ids and texts."""


class Context(NamedTuple):
    """A sentence or two of a document."""

    text: str
    docid: str
    source: str
    language: str

    @property
    def held_out(self) -> bool:
        """Whether labels are tested on it; all contexts and translations with one document id alike."""
        return zlib.crc32(self.docid.encode()) % _HELD_OUT == 0


def split(text: str) -> Iterator[str]:
    """Sentences of a text, short ones together, long ones cut at a blank."""
    gathered = ""
    for sentence in filter(None, (_BLANKS.sub(" ", part).strip() for part in _SENTENCE.split(text))):
        if gathered and len(gathered) + len(sentence) >= LONGEST:
            yield gathered
            gathered = ""
        gathered = f"{gathered} {sentence}".strip()
        if len(gathered) >= _ENOUGH:
            yield _cut(gathered)
            gathered = ""
    if gathered:
        yield _cut(gathered)


def _cut(text: str) -> str:
    if len(text) <= LONGEST:
        return text
    return text[:LONGEST].rsplit(" ", 1)[0]


def sample_contexts(sources: Sequence[Source], *, count: int, seed: int) -> list[Context]:
    """A sample in which every corpus has an equal share, as far as it has so many contexts.

    Each corpus is read once, and no more than the sample is held in memory.

    Args:
        sources: the corpora.
        count: contexts of the sample.
        seed: of the draw.

    Raises:
        InputError: if a corpus has no text to take a context from.
    """
    share = -(-count // len(sources))
    drawn: list[Context] = []
    for number, source in enumerate(sources):
        own = _draw(source, share, random.Random(f"{seed}-{number}"))
        if not own:
            raise InputError(f"{source.name} has no text of {SHORTEST} characters or more; name another corpus")
        drawn += own
    random.Random(seed).shuffle(drawn)
    return drawn[:count]


def _draw(source: Source, count: int, chance: random.Random) -> list[Context]:
    """Reservoir sampling (Vitter 1985, algorithm R)."""
    kept: list[Context] = []
    seen = 0
    for docid, text in source.documents():
        for part in split(text):
            if len(part) < SHORTEST and not (len(part) >= SHORTEST // 3 and ord(part[0]) > 0x2E7F):
                continue
            place = seen if seen < count else chance.randrange(seen + 1)
            seen += 1
            if place < count:
                kept[place : place + 1] = [Context(part, docid, source.name, source.language)]
    return kept
