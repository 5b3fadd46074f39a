"""The two forms of a table's tokenizer give the same ids, and only what SentencePiece made goes back to it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from splare_plugins.errors import InputError
from splare_plugins.static.pieces import HuggingFacePieces, SentencePieces, read_pieces
from splare_plugins.training.static.pieces import table_pieces
from tests.tiny import TEXTS, byte_tokenizer

SAID = [
    "ﬁne “wings”, naïve (ﬀ)  of\tthe fox",
    "Größe — Fuchs",
    "٣ أسماك",
    "日本語の文。",
    "<s> foxes </s>",
]


@pytest.fixture(scope="module")
def unigram() -> Tokenizer:
    """As the library has XLM-R's."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(r" {2,}", " ")]
    )
    state = json.loads(tokenizer.to_str())
    state["normalizer"]["normalizers"][2]["pattern"] = {"Regex": " {2,}"}
    tokenizer = Tokenizer.from_str(json.dumps(state))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=150, special_tokens=["<pad>", "<s>", "</s>", "<unk>"], unk_token="<unk>"
    )
    tokenizer.train_from_iterator([*TEXTS, *SAID] * 5, trainer)
    return tokenizer


def both(tokenizer: Tokenizer) -> tuple[HuggingFacePieces, SentencePieces]:
    made = table_pieces(tokenizer)
    assert isinstance(made, SentencePieces)
    return HuggingFacePieces(Tokenizer.from_str(tokenizer.to_str())), made


@pytest.mark.parametrize("text", [*TEXTS, *SAID[:-1], "", "é", "👍 ok", "क्षि שלום", "x" * 300])
def test_both_forms_give_the_same_ids_and_places(unigram: Tokenizer, text: str) -> None:
    one, other = both(unigram)
    assert len(one) == len(other) == unigram.get_vocab_size()
    (slow,), (fast,) = one.pieces([text], 1000), other.pieces([text], 1000)
    assert slow.ids == fast.ids
    assert [text[slice(*span)].strip() for span in slow.offsets] == [
        text[slice(*span)].strip() for span in fast.offsets
    ]


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "Zs"]), max_size=30))
@example("a  b")
def test_any_text_has_places_in_order(unigram: Tokenizer, text: str) -> None:
    (found,) = both(unigram)[1].pieces([text], 1000)
    assert all(0 <= start <= end <= len(text) for start, end in found.offsets)
    assert found.offsets == sorted(found.offsets)


def test_accents_written_apart_are_joined_and_have_their_place(unigram: Tokenizer) -> None:
    text = "e\u0301t"
    one, other = both(unigram)
    (slow,), (fast,) = one.pieces([text], 10), other.pieces([text], 10)
    assert slow.ids == fast.ids
    assert "".join(text[slice(*span)] for span in fast.offsets).endswith("t") and max(fast.offsets)[1] == 3


def test_both_forms_are_cut(unigram: Tokenizer) -> None:
    for form in both(unigram):
        long, short = form.pieces(["the fox " * 50, "fox"], 10)
        assert (len(long.ids), long.overflowing, short.overflowing) == (10, True, False)
        assert len(long.ids) == len(long.offsets) == len(long.special_tokens_mask)


def test_a_special_token_in_a_text_is_a_text(unigram: Tokenizer) -> None:
    (found,) = both(unigram)[1].pieces([SAID[-1]], 100)
    assert not {0, 1, 2} & set(found.ids)


def test_both_forms_are_read_back(unigram: Tokenizer, tmp_path: Path) -> None:
    for form in both(unigram):
        (tmp_path / form.file).write_bytes(form.content)
        again = read_pieces(tmp_path / form.file)
        assert again.content == form.content and again.pieces(SAID, 20) == form.pieces(SAID, 20)
    (tmp_path / "tokenizer.model").write_bytes(b"something else")
    with pytest.raises(InputError, match=r"tokenizer\.model is no model of SentencePiece"):
        read_pieces(tmp_path / "tokenizer.model")


@pytest.mark.parametrize(
    ("part", "changed"),
    [
        ("normalizer", {"type": "NFKC"}),
        ("normalizer", None),
        ("pre_tokenizer", {"type": "Whitespace"}),
        ("pre_tokenizer", {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": True}),
    ],
)
def test_other_rules_stay_with_their_library(unigram: Tokenizer, part: str, changed: dict[str, object] | None) -> None:
    state = json.loads(unigram.to_str())
    state[part] = changed
    assert isinstance(table_pieces(Tokenizer.from_str(json.dumps(state))), HuggingFacePieces)
    assert isinstance(table_pieces(byte_tokenizer().backend_tokenizer), HuggingFacePieces)
