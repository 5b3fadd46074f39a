"""One rule for texts, whatever way they come in: a corpus, a query, a pipeline, a service, a training set.

White space at the ends does not count and control characters are blanks, so that a text has one vector everywhere.
"""

from __future__ import annotations

import re

# Tab, line feed and carriage return are white space; NUL and its like end strings early in some engines.
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def plain_text(text: str) -> str:
    """What is encoded of a text."""
    return CONTROL.sub(" ", text).strip()


def plain_start(text: str) -> int:
    """Where in ``text`` :func:`plain_text` begins; character follows character from there on."""
    blank = CONTROL.sub(" ", text)
    return len(blank) - len(blank.lstrip())


def joined(title: str, text: str) -> str:
    """What is encoded of a document: title and text with one blank between them, as BEIR does it."""
    return " ".join(part for part in (plain_text(title), plain_text(text)) if part)
