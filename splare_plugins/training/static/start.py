"""What a table's tokens and words are before training: the state of each alone in a query, and how rare it is."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import groupby

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
def states_alone(model: SplareModel, entries: Sequence[Sequence[int]], on_progress: Progress | None = None) -> Tensor:
    """The mean state of the tokens of each entry, alone behind the prompt of queries; float32, ``[entries, d]``.

    Args:
        model: its backbone reads them.
        entries: tokens, or words of several.
        on_progress: called with the number of entries just read.

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
    parts, order = [], sorted(range(len(entries)), key=lambda number: len(entries[number]))
    for numbers in _of_one_length(entries, order):
        length = len(entries[numbers[0]])
        keep = np.zeros(len(before) + length + len(after), dtype=bool)
        keep[len(before) : len(before) + length] = True
        spans = np.zeros((len(keep), 2), dtype=np.int64)
        batch = [Tokens(np.array([*before, *entries[number], *after]), keep, spans, False) for number in numbers]
        states, offsets = model.backbone(batch)
        own = offsets[:-1, None] + torch.arange(len(before), len(before) + length, device=offsets.device)
        parts.append(states[own].float().mean(dim=1).cpu())
        if on_progress is not None:
            on_progress(len(batch))
    return torch.cat(parts)[np.argsort(order)]


def _of_one_length(entries: Sequence[Sequence[int]], order: list[int]) -> Iterator[list[int]]:
    """Numbers of entries in order, those of as many tokens together, so that nothing is padded."""
    for _, group in groupby(order, key=lambda number: len(entries[number])):
        numbers = list(group)
        yield from (numbers[start : start + _AT_ONCE] for start in range(0, len(numbers), _AT_ONCE))


def rarity(tokenizer: Tokenizer) -> Tensor:
    """Minus the log probability of each token, or for other tokenizers than unigram ones its rank's logarithm."""
    model = json.loads(tokenizer.to_str())["model"]
    count = tokenizer.get_vocab_size()
    if model["type"] != "Unigram":
        return torch.arange(count).add(1).log()
    found = torch.tensor([-float(score) for _, score in model["vocab"]])
    return torch.cat([found, torch.full((count - len(found),), _RAREST)]).clamp(0, _RAREST)
