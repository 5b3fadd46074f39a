"""One rule for texts: white space at the ends does not count, control characters are blanks, length costs nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splare_plugins.backbone.backbone import encoding_with
from splare_plugins.backbone.texts import joined, plain_start, plain_text
from splare_plugins.backbone.tokens import tokenise_heads
from splare_plugins.corpus import Document
from splare_plugins.impacts import to_dicts
from splare_plugins.retrieval.explain import explain

SAME = ["bees\x07fly", "  bees fly", "bees fly \n", "\x00\tbees\x1ffly\u3000", "bees fly"]


@given(st.text())
def test_a_plain_text_lies_in_the_text(text: str) -> None:
    plain = plain_text(text)
    assert plain == plain.strip() == plain_text(plain)
    start = plain_start(text)
    for place, character in enumerate(plain):
        assert character in (text[start + place], " ")


def test_title_and_text_are_joined_by_one_blank() -> None:
    for title, text in (("bees", "fly"), (" bees ", "\x00fly\n"), ("", "bees fly"), ("bees fly", " \t")):
        assert joined(title, text) == Document("d", text, title).content == "bees fly"
    assert joined(" ", "\x01") == ""


@pytest.mark.parametrize("side", ["query", "document"])
def test_texts_that_differ_in_white_space_at_the_ends_have_one_vector(tiny, side) -> None:
    rows = to_dicts(tiny.encode(SAME, side))
    assert all(row == pytest.approx(rows[-1]) for row in rows)
    assert to_dicts(tiny.encode(["", "   ", "\x00\n"], side)) == [{}, {}, {}]


def test_the_words_of_an_explanation_are_those_of_the_text_as_it_was_given(tiny) -> None:
    plain, blank = (explain(tiny, text, text) for text in ("bees fly", " \x00 bees fly "))
    assert [(match.term, match.query_word) for match in blank.matches] == [
        (match.term, match.query_word) for match in plain.matches
    ]


@pytest.mark.parametrize("length", [3, 8, 40])
def test_the_beginning_of_a_long_text_is_tokenised_as_in_the_whole(tiny, length) -> None:
    tokenizer = tiny.backbone.tokenizer
    words = "Bienen fliegen über Äcker 搜索引擎 to the hive, and back. "
    texts = ["x", words * 3, words * 400, " " * 5000 + "bees " * 2000, "bees" + " " * 90_000 + "fly", "x" * 20_000]
    whole = tokenizer(texts, truncation=True, max_length=length).encodings
    heads, encodings = tokenise_heads(encoding_with(tokenizer, length), texts, length)
    for text, head, one, other in zip(texts, heads, encodings, whole, strict=True):
        assert text.startswith(head)
        assert one.ids == other.ids
        assert one.offsets == other.offsets
        assert bool(one.overflowing) == bool(other.overflowing)
    assert max(map(len, heads)) < 90_010
    assert len(heads[2]) < len(texts[2])


MEMORY = """
from tests.peak import peak_bytes
from tests.tiny import tiny_model
model = tiny_model()
model.encode(["bees"], "document")
before = peak_bytes()
model.encode(["bees fly home, " * 70_000] * 8, "document")
print((peak_bytes() - before) >> 20)
"""


@pytest.mark.slow
def test_memory_does_not_depend_on_the_length_of_texts() -> None:
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    # 8 MB of text, of which whole encodings take 1.6 GB.
    assert int(done.stdout) < 120
