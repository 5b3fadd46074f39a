"""The states that an SAE learns from: those of a corpus' own tokens, a stretch of documents at a time."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from itertools import count, islice

import torch
from torch import Tensor

from splare_plugins.backbone import Backbone, Tokens
from splare_plugins.backbone.finite import finite_rows, not_finite
from splare_plugins.config import SplareConfig
from splare_plugins.corpus import Document
from splare_plugins.errors import InputError, SplareError
from splare_plugins.model.batching import length_batches
from splare_plugins.model.encoder import default_tokens
from splare_plugins.model.forward import token_states
from splare_plugins.pooling.norms import drop_outliers
from splare_plugins.training.autoencoder.settings import TOKENS_A_LATENT, SaeSettings

HELD_OUT_TOKENS = 4096
_HELD_OUT = 20
# Documents that are tokenised together: by so much may a buffer be larger than it should be.
_AT_ONCE = 16
_SHOWN = 60


class States:
    """States of a corpus, without special tokens, prompt and outliers; one document in twenty is held out.

    The corpus is read again when it ends. Where it stands is two numbers, so that a training that was killed goes on
    with the same document.

    Args:
        backbone: ready to run, cut after its layer.
        documents: opens the corpus at its start.
        config: that names the backbone, and says how documents are read.
        settings: of the training.

    Attributes:
        passes: how many times the corpus was read to its end.
        position: documents read in this pass.

    Raises:
        InputError: if the corpus has too few tokens for an SAE of this width.
    """

    def __init__(
        self,
        backbone: Backbone,
        documents: Callable[[], Iterator[Document]],
        config: SplareConfig,
        settings: SaeSettings,
    ) -> None:
        self.backbone = backbone
        self.config = config
        self.settings = settings
        self.passes = self.position = 0
        self._documents = documents
        self._open: Iterator[Document] | None = None
        self._held: list[Document] = []
        self._held_until = 0
        self._hold_out()

    def held_out(self) -> Tensor:
        """States of the documents that are never trained on, shape ``[tokens, d]``."""
        return self._compute(self._held, self._tokenize(self._held))[:HELD_OUT_TOKENS]

    def go_to(self, passes: int, position: int) -> None:
        """Go on where another run stopped."""
        self.passes, self.position, self._open = passes, position, None

    def read(self, tokens: int) -> Tensor:
        """The next states, of whole documents; at least so many, shape ``[tokens, d]``."""
        documents: list[Document] = []
        tokenised: list[Tokens] = []
        found = 0
        while found < tokens:
            group = self._next()
            more = self._tokenize(group)
            documents += group
            tokenised += more
            found += _own(more)
        return self._compute(documents, tokenised)

    def _next(self) -> list[Document]:
        """Some documents to train on; empty where only held-out ones came."""
        if self._open is None:
            self._open = islice(self._documents(), self.position, None)
        found = list(islice(self._open, _AT_ONCE))
        numbers = range(self.position, self.position + len(found))
        self.position += len(found)
        if len(found) < _AT_ONCE:
            self.passes, self.position, self._open = self.passes + 1, 0, None
        return [each for number, each in zip(numbers, found, strict=True) if not self._is_held(number)]

    def _is_held(self, number: int) -> bool:
        return number % _HELD_OUT == 0 and number < self._held_until

    def _hold_out(self) -> None:
        """Choose the documents that are held out, and see that enough tokens are left; tokens are only counted."""
        stream, held, left = self._documents(), 0, 0
        for number in count(step=_HELD_OUT):
            group = list(islice(stream, _HELD_OUT))
            if not group or (held >= HELD_OUT_TOKENS and left >= self.settings.least_tokens):
                break
            lengths = [_own([each]) for each in self._tokenize(group)]
            if held < HELD_OUT_TOKENS:
                held += lengths.pop(0)
                self._held.append(group[0])
                self._held_until = number + 1
            left += sum(lengths)
        if left < (least := self.settings.least_tokens):
            width = left // TOKENS_A_LATENT
            raise InputError(
                f"the corpus has {left} tokens to train on, fewer than the {least} that an SAE of "
                f"{self.settings.width} latents takes at least ({TOKENS_A_LATENT} a latent); give more text"
                + (f", or lower --width to {width}" if width >= self.settings.k else "")
            )
        if held < 2:
            raise InputError(
                "the documents that are held out (the 1st, 21st, 41st and so on) have no tokens to measure on; give "
                "documents with text"
            )

    def _tokenize(self, documents: Sequence[Document]) -> list[Tokens]:
        side = self.config.document
        return self.backbone.tokenize([document.content for document in documents], side.prompt, side.max_length)

    @torch.no_grad()
    def _compute(self, documents: Sequence[Document], tokenised: Sequence[Tokens]) -> Tensor:
        backbone, parts = self.backbone, []
        lengths = [len(tokens.ids) for tokens in tokenised]
        for batch in length_batches(lengths, default_tokens(backbone.device), packed=backbone.packed):
            chosen = [tokenised[number] for number in batch]
            states, offsets, keep = token_states(self.config, backbone, chosen)
            keep = drop_outliers(states, offsets, keep, self.config.max_token_norm_ratio)
            finite = finite_rows(states) | ~keep
            if not bool(finite.all()):
                token = (~finite).nonzero()[0, 0]
                document = documents[batch[int((offsets <= token).sum()) - 1]]
                shown = textwrap.shorten(document.content, _SHOWN, placeholder=" ...")
                raise SplareError(
                    f"a state of document {document.docid} ({shown!r}) {not_finite(backbone.model.dtype)}"
                )
            parts.append(states[keep])
        return torch.cat(parts)


def _own(tokenised: Sequence[Tokens]) -> int:
    return sum(int(tokens.keep.sum()) for tokens in tokenised)
