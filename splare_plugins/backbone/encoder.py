"""Texts to token states: a transformers model and its tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from splare_plugins.errors import InputError


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


class Backbone(nn.Module):
    """A transformers model and its tokenizer, giving one state per token.

    Args:
        model: a headless transformers model, already cut and bidirectional.
        tokenizer: a fast tokenizer; its offsets tell prompt from text.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
        super().__init__()
        if not getattr(tokenizer, "is_fast", False):
            raise InputError("SPLARE needs a fast tokenizer (tokenizer.json) to tell a prompt from its text")
        self.model = model
        self.tokenizer = tokenizer
        self.pad_id = 0 if tokenizer.pad_token_id is None else int(tokenizer.pad_token_id)

    @property
    def device(self) -> torch.device:
        """Where token ids go in and states come out; the weights may be spread over several devices."""
        if spread := getattr(self.model, "hf_device_map", None):
            # accelerate's own rule for a model that it spread, and its hooks bring the output back to the input.
            return torch.device(next((place for place in spread.values() if place not in ("cpu", "disk")), "cpu"))
        device: torch.device = self.model.device
        return device

    @property
    def positions(self) -> int | None:
        """Tokens that the table of positions has room for; ``None`` for a model without such a table."""
        for name, module in self.model.named_modules():
            if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
                # The families that pad the table (RoBERTa's) count positions from behind the padding's row.
                return module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1)
        return None

    def tokenize(self, texts: Sequence[str], prompt: str, max_length: int) -> list[Tokens]:
        """Tokenise ``prompt + text`` for each text.

        Raises:
            InputError: for a text that is not valid Unicode (a lone surrogate), naming its position.
        """
        if not texts:
            return []
        for number, text in enumerate(texts):
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise InputError(
                    f"text {number} has a lone surrogate at character {error.start}; remove it"
                ) from error
        encodings = self.tokenizer(
            [prompt + text for text in texts], truncation=True, max_length=max_length, return_attention_mask=False
        ).encodings
        tokenised = []
        for encoding in encodings:
            spans = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2) - len(prompt)
            special = np.array(encoding.special_tokens_mask, dtype=bool)
            ids = np.array(encoding.ids, dtype=np.int64)
            own = ~special & (spans[:, 1] > 0)
            tokenised.append(Tokens(ids, own, spans.clip(min=0), bool(encoding.overflowing)))
        return tokenised

    def forward(self, batch: Sequence[Tokens]) -> tuple[Tensor, Tensor]:
        """States of all tokens of a batch, packed.

        Texts are padded on the right, whatever side the tokenizer prefers.

        Returns:
            states, shape ``[tokens, d]``, text after text; and offsets, shape ``[texts + 1]``.
        """
        lengths = [len(tokens.ids) for tokens in batch]
        ids = np.full((len(batch), max(lengths)), self.pad_id, dtype=np.int64)
        for row, tokens in enumerate(batch):
            ids[row, : len(tokens.ids)] = tokens.ids
        device = self.device
        offsets = torch.tensor([0, *np.cumsum(lengths)], device=device)
        padded = len(set(lengths)) > 1
        mask = torch.arange(ids.shape[1])[None, :] < torch.tensor(lengths)[:, None]
        mask = mask.to(device)
        # Without padding no mask is passed: the attention kernels are faster without one.
        output = self.model(input_ids=torch.from_numpy(ids).to(device), attention_mask=mask.long() if padded else None)
        states = output.last_hidden_state
        return states[mask] if padded else states.flatten(0, 1), offsets

    def save(self, folder: Path) -> None:
        """Write weights (safetensors), config and tokenizer.

        Raises:
            InputError: if the weights are quantised, since they would no longer be those that the model names.
        """
        if getattr(self.model, "is_quantized", False):
            raise InputError("quantised weights are not saved; save the model that they were made from")
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
