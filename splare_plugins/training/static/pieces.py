"""A model's tokenizer in the form in which a table takes it: SentencePiece's own wherever that gives the same ids."""

from __future__ import annotations

import json
import struct
from typing import Any

from sentencepiece import SentencePieceNormalizer
from tokenizers import Tokenizer

from splare_plugins.static.pieces import HuggingFacePieces, PieceTokenizer, SentencePieces

_MARKED = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
_RULE = "nmt_nfkc"
_NORMAL, _UNKNOWN, _CONTROL = 1, 2, 3
"""Kinds of pieces."""
_STEPS = [{"type": "Nmt"}, {"type": "NFKC"}]
"""What that rule does, as the library ``tokenizers`` has it."""
_ONE_BLANK = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}
"""What SentencePiece does in any case."""


def table_pieces(tokenizer: Tokenizer) -> PieceTokenizer:
    """The tokenizer with the ids that it has.

    XLM-R and its descendants were made by SentencePiece and go back to it: pieces with scores, the compatibility
    forms of Unicode, marks in place of blanks. All others stay as they are. Texts get the ids that they had, but for
    those with several marks on one letter, whose order only the library changes, or with joiners of zero width.
    """
    state = json.loads(tokenizer.to_str())
    if not _is_sentencepiece(state) or len(state["model"]["vocab"]) != tokenizer.get_vocab_size():
        return HuggingFacePieces(Tokenizer.from_str(tokenizer.to_str()))
    # A message appended to another of its kind is one with the fields of both: rules, then pieces.
    rules = SentencePieceNormalizer(
        rule_name=_RULE, add_dummy_prefix=True, escape_whitespaces=True, remove_extra_whitespaces=True
    )
    special = {token["id"]: _CONTROL for token in state["added_tokens"] if token["special"]}
    kinds = {**special, state["model"]["unk_id"]: _UNKNOWN}
    pieces = (
        _piece(piece, score, kinds.get(number, _NORMAL))
        for number, (piece, score) in enumerate(state["model"]["vocab"])
    )
    return SentencePieces(rules.serialized_model_proto() + b"".join(pieces))


def _piece(piece: str, score: float, kind: int) -> bytes:
    """One of the repeated field ``pieces`` of SentencePiece's ``ModelProto``.

    In bytes, since the messages that come with sentencepiece take none but the newest releases of protobuf.
    """
    text = piece.encode()
    message = b"\x0a" + _varint(len(text)) + text + b"\x15" + struct.pack("<f", score) + b"\x18" + _varint(kind)
    return b"\x0a" + _varint(len(message)) + message


def _varint(number: int) -> bytes:
    """A number from 0 as protobuf writes it: seven bits a byte, the lowest first."""
    *more, last = [number >> shift & 0x7F for shift in range(0, max(number.bit_length(), 1), 7)]
    return bytes([*(part | 0x80 for part in more), last])


def _is_sentencepiece(state: dict[str, Any]) -> bool:
    """Whether SentencePiece's rules are those of a tokenizer, given as its JSON."""
    model, normaliser = state["model"], state["normalizer"] or {}
    steps = [step for step in normaliser.get("normalizers", []) if step != _ONE_BLANK]
    return (
        model["type"] == "Unigram"
        and model["unk_id"] is not None
        and not model.get("byte_fallback")
        and state["pre_tokenizer"] == _MARKED
        and steps == _STEPS
    )
