"""The tokenizer of a table's model in one of two forms, with the same ids: SentencePiece's own, or Hugging Face's.

SentencePiece's takes a quarter of the memory and a fraction of the time; the other takes every kind of tokenizer.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from sentencepiece import SentencePieceProcessor

from splare_plugins.backbone.tokens import Tokens, tokenise
from splare_plugins.errors import InputError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SENTENCEPIECE_FILE = "tokenizer.model"
TOKENIZERS_FILE = "tokenizer.json"


class Pieces(NamedTuple):
    """A tokenised text, in the form that :func:`splare_plugins.backbone.tokens.tokenise` takes."""

    ids: list[int]
    offsets: list[tuple[int, int]]
    special_tokens_mask: list[int]
    overflowing: bool


class PieceTokenizer(Protocol):
    """Texts to ids."""

    @property
    def file(self) -> str:
        """Name of its file."""

    @property
    def content(self) -> bytes:
        """Of its file."""

    def __len__(self) -> int:
        """The number of ids."""

    def pieces(self, texts: Sequence[str], most: int) -> list[Pieces]:
        """Of each text the first ``most``, where special tokens count."""


class SentencePieces:
    """A tokenizer of SentencePiece.

    Args:
        content: its model.

    Raises:
        InputError: if that is none.
    """

    file = SENTENCEPIECE_FILE

    def __init__(self, content: bytes) -> None:
        self.content = content
        try:
            self._processor = SentencePieceProcessor(model_proto=content)
        except RuntimeError as error:
            raise InputError(f"{self.file} is no model of SentencePiece ({error}); train or fetch it again") from error

    def __len__(self) -> int:
        """The number of ids."""
        return len(self._processor)

    def pieces(self, texts: Sequence[str], most: int) -> list[Pieces]:
        """See :class:`PieceTokenizer`; there are no special tokens."""
        made = []
        for text in texts:
            found = self._processor.encode(text, return_type="offset_mapping")
            ids = found["ids"][:most]
            # The mark of the first word alone has the place of its first character, as in the other form.
            offsets = [(start, min(max(end, start + 1), len(text))) for start, end in found["offsets"][:most]]
            made.append(Pieces(ids, offsets, [0] * len(ids), len(found["ids"]) > most))
        return made


class HuggingFacePieces:
    """A tokenizer of the library ``tokenizers``.

    Args:
        tokenizer: which is changed: it cuts, and does not pad.
    """

    file = TOKENIZERS_FILE

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self.content = tokenizer.to_str().encode()

    def __len__(self) -> int:
        """The number of ids."""
        return self._tokenizer.get_vocab_size()

    def pieces(self, texts: Sequence[str], most: int) -> list[Pieces]:
        """See :class:`PieceTokenizer`."""
        self._tokenizer.enable_truncation(most)
        found = self._tokenizer.encode_batch(list(texts))
        return [Pieces(each.ids, each.offsets, each.special_tokens_mask, bool(each.overflowing)) for each in found]


def tokens_of(tokenizer: PieceTokenizer, texts: Sequence[str], most: int) -> list[Tokens]:
    """Texts as a table takes them, in queries and in its training: without a prompt, the first ``most`` pieces."""
    return tokenise(lambda heads: tokenizer.pieces(heads, most), texts, "", most)


def read_pieces(file: Path) -> PieceTokenizer:
    """The tokenizer in a file of one of the two names."""
    if file.name == SENTENCEPIECE_FILE:
        return SentencePieces(file.read_bytes())
    from tokenizers import Tokenizer

    return HuggingFacePieces(Tokenizer.from_file(str(file)))
