"""Texts to token ids, and to padded batches of them; numpy alone, so that it serves where torch is not."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from splare_plugins.backbone.texts import plain_start, plain_text
from splare_plugins.config import SplareConfig
from splare_plugins.errors import InputError

Encode = Callable[[list[str]], list[Any]]
"""Encodings of the library ``tokenizers``, cut to a length."""

# Of a text, so many characters for each token of the length limit are tokenised at first.
_CHARACTERS_PER_TOKEN = 32


class Tokens(NamedTuple):
    """One tokenised text."""

    ids: np.ndarray
    """Token ids, special tokens and prompt included, int64."""
    keep: np.ndarray
    """Which tokens are the text's own: no special token, no prompt; bool."""
    spans: np.ndarray
    """First and last + 1 character of each token in the text without its prompt, int64, shape ``[tokens, 2]``."""
    truncated: bool
    """Whether the text was longer than the limit."""


def tokenise(encode: Encode, texts: Sequence[str], prompt: str, max_length: int) -> list[Tokens]:
    """Tokenise ``prompt + text`` for each text, as :func:`plain_text` has it.

    Raises:
        InputError: for a text that is not valid Unicode (a lone surrogate), naming its position.
    """
    if not texts:
        return []
    require_unicode(texts)
    tokenised = []
    _, encodings = tokenise_heads(encode, [prompt + plain_text(text) for text in texts], max_length)
    for text, encoding in zip(texts, encodings, strict=True):
        spans = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2) - len(prompt)
        special = np.array(encoding.special_tokens_mask, dtype=bool)
        ids = np.array(encoding.ids, dtype=np.int64)
        own = ~special & (spans[:, 1] > 0)
        spans = spans.clip(min=0) + own[:, None] * plain_start(text)
        tokenised.append(Tokens(ids, own, spans, bool(encoding.overflowing)))
    return tokenised


def pad(batch: Sequence[Tokens], pad_id: int) -> tuple[np.ndarray, np.ndarray]:
    """Token ids of a batch, padded on the right; and which of them are real.

    Returns:
        ids, int64, and mask, bool, shape ``[texts, tokens]``.
    """
    lengths = np.array([len(tokens.ids) for tokens in batch])
    mask = np.arange(lengths.max()) < lengths[:, None]
    ids = np.full(mask.shape, pad_id, dtype=np.int64)
    ids[mask] = np.concatenate([tokens.ids for tokens in batch])
    return ids, mask


def pool_mask(config: SplareConfig, batch: Sequence[Tokens]) -> np.ndarray:
    """Which tokens take part in the pool, before outliers are dropped; bool, text after text."""
    whole = config.pool_all_tokens
    kept = [np.ones_like(tokens.keep) if whole and tokens.keep.any() else tokens.keep for tokens in batch]
    return np.concatenate(kept)


def padded_batch(
    config: SplareConfig, batch: Sequence[Tokens], pad_id: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Token ids, the real ones and those that take part in the pool; each of shape ``[texts, tokens]``."""
    ids, mask = pad(batch, pad_id)
    keep = np.zeros_like(mask)
    keep[mask] = pool_mask(config, batch)
    return ids, mask, keep


def require_unicode(texts: Sequence[str]) -> None:
    """Refuse texts that are not valid Unicode.

    Raises:
        InputError: naming the text and the place of a lone surrogate.
    """
    for number, text in enumerate(texts):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InputError(f"text {number} has a lone surrogate at character {error.start}; remove it") from error


def tokenise_heads(encode: Encode, texts: Sequence[str], max_length: int) -> tuple[list[str], list[Any]]:
    """Encodings of texts, and so much of each text as filled ``max_length``.

    A fast tokenizer tokenises a whole text before it cuts it, which takes a hundred bytes a character.

    Args:
        encode: tokenises and cuts.
        texts: of any length.
        max_length: tokens kept of each.
    """
    size = _CHARACTERS_PER_TOKEN * max_length
    heads = [text[:size] for text in texts]
    encodings = encode(heads)
    for number, text in enumerate(texts):
        # Blanks may be no tokens; and near the end of a head, words are cut where the text goes on.
        while len(heads[number]) < len(text) and len(heads[number]) - _last_character(encodings[number]) < size // 2:
            heads[number] = text[: 2 * len(heads[number])]
            (encodings[number],) = encode([heads[number]])
    return heads, encodings


def _last_character(encoding: Any) -> int:
    """The end of the last token that was kept; of an encoding that was not cut, a place beyond all texts' heads."""
    return max(end for _, end in encoding.offsets) if encoding.overflowing else sys.maxsize
