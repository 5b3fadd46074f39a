"""Masked tokens and the loss of predicting them.

A decoder predicts each masked token from the state of the token before it, as it is used to; an encoder from the
masked token's own state, which is ordinary masked language modelling. Only masked positions go through the head.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset

from splare_plugins.backbone import Backbone
from splare_plugins.errors import InputError
from splare_plugins.heads.lm import LanguageModelHead

IGNORED = -100


class MaskedTexts(Dataset[dict[str, Tensor]]):
    """Texts with masked tokens; item n is the same whenever it is asked for, so that runs can go on.

    Args:
        texts: the texts; passed through again and again in other orders and with other masks.
        backbone: tokenises.
        length: tokens of a text.
        share: of the tokens, to predict; of these, 80 % are hidden, 10 % replaced and 10 % left.
        mask_id: what hides a token.
        items: number of items.
        seed: of order and masks.
    """

    def __init__(
        self, texts: list[str], backbone: Backbone, *, length: int, share: float, mask_id: int, items: int, seed: int
    ) -> None:
        self.texts = texts
        self.backbone = backbone
        self.length = length
        self.share = share
        self.mask_id = mask_id
        self.items = items
        self.seed = seed
        self._shuffled: tuple[int, np.ndarray] | None = None

    def __len__(self) -> int:
        return self.items

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        epoch, place = divmod(number, len(self.texts))
        order = self._order(epoch)
        (tokens,) = self.backbone.tokenize([self.texts[order[place]]], "", self.length)
        generator = np.random.default_rng([self.seed, epoch, place])
        own = np.flatnonzero(tokens.keep)
        count = max(1, round(self.share * len(own))) if len(own) else 0
        chosen = generator.permutation(own)[:count]
        labels = np.full_like(tokens.ids, IGNORED)
        labels[chosen] = tokens.ids[chosen]
        ids = tokens.ids.copy()
        fate = generator.random(count)
        ids[chosen[fate < 0.8]] = self.mask_id
        changed = chosen[(fate >= 0.8) & (fate < 0.9)]
        ids[changed] = generator.integers(len(self.backbone.tokenizer), size=len(changed))
        return {"input_ids": torch.from_numpy(ids), "labels": torch.from_numpy(labels)}

    def collate(self, items: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """A batch, padded on the right."""
        ids, labels = (
            nn.utils.rnn.pad_sequence([item[name] for item in items], batch_first=True, padding_value=value)
            for name, value in (("input_ids", self.backbone.pad_id), ("labels", IGNORED))
        )
        lengths = torch.tensor([len(item["input_ids"]) for item in items])
        mask = torch.arange(ids.shape[1]) < lengths[:, None]
        return {"input_ids": ids, "attention_mask": mask.long(), "labels": labels}

    def _order(self, epoch: int) -> np.ndarray:
        if self._shuffled is None or self._shuffled[0] != epoch:
            self._shuffled = epoch, np.random.default_rng([self.seed, epoch]).permutation(len(self.texts))
        return self._shuffled[1]


def masked_loss(states: Tensor, labels: Tensor, head: LanguageModelHead, *, decoder: bool) -> Tensor:
    """Cross entropy of the masked tokens.

    Args:
        states: of the last layer, shape ``[texts, tokens, d]``.
        labels: token ids at masked positions, ``-100`` elsewhere, shape ``[texts, tokens]``.
        head: gives the logits.
        decoder: predict each token from the state before it.
    """
    if decoder:
        states, labels = states[:, :-1], labels[:, 1:]
    masked = labels != IGNORED
    with torch.autocast(states.device.type, enabled=False):
        rows = head.transform(states[masked].to(head.W.dtype))
        logits = (functional.linear(rows, head.W).float() + head.b) * head.scale
        if head.softcap is not None:
            logits = head.softcap * torch.tanh(logits / head.softcap)
        return functional.cross_entropy(logits, labels[masked])


def mask_id(backbone: Backbone, token: str) -> int:
    """What hides a token: the tokenizer's mask token, else the token given.

    Raises:
        InputError: if it has neither.
    """
    tokenizer = backbone.tokenizer
    if tokenizer.mask_token_id is not None:
        return int(tokenizer.mask_token_id)
    found = tokenizer.convert_tokens_to_ids(token)
    if found is None or found == tokenizer.unk_token_id:
        raise InputError(f"the tokenizer has no token {token!r} to mask with; choose another mask_token")
    return int(found)
