"""Documents and queries as text, and what makes an id or a text fit for every engine."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from splare_plugins.backbone.texts import CONTROL, joined
from splare_plugins.errors import InputError

MAX_ID_BYTES = 512
"""The longest id that every engine takes: the limit of OpenSearch; Lucene's is higher."""

# White space would break TREC runs, which are split at it.
_BAD_IN_ID = re.compile(r"[\s\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_PAIR = 2
SURROGATE = re.compile(r"[\ud800-\udfff]")


class Document(NamedTuple):
    """One document of a corpus."""

    docid: str
    text: str
    title: str = ""

    @property
    def content(self) -> str:
        """What is encoded: see :func:`joined`."""
        return joined(self.title, self.text)


class Query(tuple[str, str]):
    """One query: the pair of its id and its text, so that ``for qid, text in queries`` and ``dict(queries)`` work.

    Attributes:
        excluded: documents that must not answer it, as BRIGHT names them in ``excluded_ids``; beside the pair.
    """

    excluded: tuple[str, ...]

    def __new__(cls, qid: str, text: str, excluded: Iterable[str] = ()) -> Query:
        """A query of these values."""
        query = super().__new__(cls, (qid, text))
        query.excluded = tuple(excluded)
        return query

    @property
    def qid(self) -> str:
        """Its id."""
        return self[0]

    @property
    def text(self) -> str:
        """What is encoded."""
        return self[1]

    def __getnewargs__(self) -> tuple[str, str, tuple[str, ...]]:  # type: ignore[override]
        return self.qid, self.text, self.excluded

    def __eq__(self, other: object) -> bool:
        return tuple.__eq__(self, other) is True and self.excluded == getattr(other, "excluded", ())

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = tuple.__hash__

    def __repr__(self) -> str:
        excluded = f", excluded={self.excluded!r}" if self.excluded else ""
        return f"Query(qid={self.qid!r}, text={self.text!r}{excluded})"


def as_queries(pairs: Iterable[tuple[str, str]]) -> list[Query]:
    """Queries, whether they came as such or as pairs of id and text.

    Raises:
        InputError: for anything else.
    """
    queries = []
    for each in pairs:
        if isinstance(each, str) or len(each) != _PAIR:
            raise InputError(f"a query is a pair of its id and its text, not {str(each)[:80]!r}")
        queries.append(each if isinstance(each, Query) else Query(*each))
    return queries


@dataclass
class ReadCounts:
    """What a reader met; passed to the reader, complete when it is exhausted.

    Attributes:
        read: records read, those that were skipped included.
        duplicates: records skipped because their id came before (``on_duplicate="first"``).
        empty: records kept although their text is empty or blank.
        cleaned: records kept in whose text control characters were replaced by blanks.
    """

    read: int = 0
    duplicates: int = 0
    empty: int = 0
    cleaned: int = 0

    @property
    def kept(self) -> int:
        """Records that the reader passed on."""
        return self.read - self.duplicates


def plain_id(value: object) -> object:
    """The digits of a whole number; anything else as it is."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def check_id(value: object, where: str) -> str:
    """An id that every engine and every TREC tool can hold; ``where`` starts the message about any other.

    A whole number is its digits, for every way in: much published data has such ids.

    Raises:
        InputError: if it is neither a string nor a whole number, is empty, has more than 512 bytes in UTF-8, or holds
            white space, control characters or lone surrogates.
    """
    value = plain_id(value)
    if not isinstance(value, str):
        raise InputError(f"{where}: the id must be a string or a whole number, not {value!r}")
    if not value:
        raise InputError(f"{where}: the id is empty; every record needs one")
    if bad := _BAD_IN_ID.search(value):
        raise InputError(
            f"{where}: the id {value[:80]!r} holds {_name(bad.group())}, which ids cannot have; rename the record"
        )
    if (size := len(value.encode())) > MAX_ID_BYTES:
        raise InputError(
            f"{where}: the id {value[:40]!r}... has {size} bytes, more than the {MAX_ID_BYTES} that engines take; "
            "shorten it"
        )
    return value


def check_text(value: object, where: str) -> tuple[str, bool]:
    """A text that every engine can store, and whether control characters in it became blanks.

    Raises:
        InputError: if it is not a string, or holds a lone surrogate (half a character, which no encoding can write).
    """
    if not isinstance(value, str):
        raise InputError(f"{where}: the text must be a string in quotes, not {str(value)[:80]!r}")
    if value.isprintable():  # which neither is; most texts of one line are, and it is quick to see
        return value, False
    if bad := SURROGATE.search(value):
        raise InputError(
            f"{where}: character {bad.start() + 1} of the text is {_name(bad.group())}; write the whole character"
        )
    text, replaced = CONTROL.subn(" ", value)
    return text, replaced > 0


def _name(character: str) -> str:
    if SURROGATE.match(character):
        return f"a lone surrogate (\\u{ord(character):04x})"
    if character.isspace():
        return f"white space (U+{ord(character):04X})"
    return f"a control character (U+{ord(character):04X})"
