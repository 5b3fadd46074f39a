"""What a query encoder's tokens are before training: the state of each token alone in a query, and how rare it is."""

from __future__ import annotations

import json

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from splare_plugins.backbone import Tokens
from splare_plugins.errors import InputError
from splare_plugins.machine import Progress
from splare_plugins.model.splare import SplareModel

_AT_ONCE = 256
_RAREST = 20.0
"""Minus the log probability of tokens that have none; XLM-R's rarest words have 16."""


@torch.inference_mode()
def states_alone(model: SplareModel, on_progress: Progress | None = None) -> Tensor:
    """The state of each token of the vocabulary, alone behind the prompt of queries; float32, ``[tokens, d]``.

    Raises:
        InputError: if the tokenizer puts nothing recognisable around a text.
    """
    side = model.config.query
    # The frame is that of a text of one token, so whatever tokenizer there is puts its own tokens around it.
    (framed,) = model.backbone.tokenize(["a"], side.prompt, side.max_length)
    own = np.flatnonzero(framed.keep)
    if not len(own):
        raise InputError(f"{model.config.name} has no token for the text 'a'; a table needs a tokenizer of words")
    before, after = framed.ids[: own[0]], framed.ids[own[-1] + 1 :]
    keep = np.zeros(len(before) + 1 + len(after), dtype=bool)
    keep[len(before)] = True
    spans = np.zeros((len(keep), 2), dtype=np.int64)
    parts = []
    for numbers in torch.arange(len(model.backbone.tokenizer)).split(_AT_ONCE):
        batch = [Tokens(np.array([*before, token, *after]), keep, spans, False) for token in numbers.tolist()]
        states, offsets = model.backbone(batch)
        parts.append(states[offsets[:-1] + len(before)].float().cpu())
        if on_progress is not None:
            on_progress(len(batch))
    return torch.cat(parts)


def rarity(tokenizer: Tokenizer) -> Tensor:
    """Minus the log probability of each token, or for other tokenizers than unigram ones its rank's logarithm."""
    model = json.loads(tokenizer.to_str())["model"]
    count = tokenizer.get_vocab_size()
    if model["type"] != "Unigram":
        return torch.arange(count).add(1).log()
    found = torch.tensor([-float(score) for _, score in model["vocab"]])
    return torch.cat([found, torch.full((count - len(found),), _RAREST)]).clamp(0, _RAREST)
