"""Texts to token states: a transformers model and its tokenizer."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from splare_plugins.backbone.placement import to_device
from splare_plugins.backbone.tokens import Encode, Tokens, pad, tokenise
from splare_plugins.errors import InputError
from splare_plugins.machine.files import file_sha256

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

_ADAPTED = "_hf_peft_config_loaded"
# A tokenizer refuses to be set to another length while another thread uses it.
_TOKENISING = threading.Lock()
# Where peft puts what it wraps: layers, whole modules, and embeddings of which single tokens are trained.
_WRAPPERS = re.compile(r"\.(?:base_layer|original_module|token_adapter)(?=\.)")
# Initialisations that take a part of the weights away, into the adapter.
_CHANGE_BASE = ("pissa", "olora", "corda", "loftq")


class Backbone(nn.Module):
    """A transformers model and its tokenizer, giving one state per token.

    Args:
        model: a headless transformers model, already cut and bidirectional.
        tokenizer: a fast tokenizer; its offsets tell prompt from text.

    Attributes:
        packed: whether texts are encoded one after the other in a row, without padding, where nothing is trained; see
            :func:`splare_plugins.backbone.fit.pack_where_it_fits`.
    """

    packed = False

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
        table = self._position_table
        return None if table is None else table.num_embeddings - _first_position(table)

    @property
    def _position_table(self) -> nn.Embedding | None:
        for name, module in self.model.named_modules():
            if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
                return module
        return None

    def tokenize(self, texts: Sequence[str], prompt: str, max_length: int) -> list[Tokens]:
        """Tokenise ``prompt + text`` for each text, as :func:`plain_text` has it.

        Raises:
            InputError: for a text that is not valid Unicode (a lone surrogate), naming its position.
        """
        with _TOKENISING:
            return tokenise(encoding_with(self.tokenizer, max_length), texts, prompt, max_length)

    def pad(self, batch: Sequence[Tokens]) -> tuple[Tensor, Tensor]:
        """Token ids of a batch, padded on the right, whatever side the tokenizer prefers; and the real ones.

        Returns:
            ids, int64, and mask, bool, shape ``[texts, tokens]``, on the CPU.
        """
        ids, mask = pad(batch, self.pad_id)
        return torch.from_numpy(ids), torch.from_numpy(mask)

    def padded_states(self, ids: Tensor, mask: Tensor) -> Tensor:
        """States of a padded batch, shape ``[texts, tokens, d]``.

        Args:
            ids: token ids, shape ``[texts, tokens]``.
            mask: the real ones, bool, of the same shape; on the CPU, a GPU is not waited for.
        """
        # Without padding no mask is passed: the attention kernels are faster without one.
        attention = None if bool(mask.all()) else mask.long().to(ids.device)
        states: Tensor = self.model(input_ids=ids, attention_mask=attention).last_hidden_state
        return states

    def forward(self, batch: Sequence[Tokens]) -> tuple[Tensor, Tensor]:
        """States of all tokens of a batch, packed.

        Returns:
            states, shape ``[tokens, d]``, text after text; and offsets, shape ``[texts + 1]``.
        """
        empty = not any(len(tokens.ids) for tokens in batch)
        if self.packed and not empty and not self.model.training and not torch.is_grad_enabled():
            return self._packed_states(batch)
        ids, mask = self.pad(batch)
        return pack_states(self.padded_states(to_device(ids, self.device), mask), mask)

    def _packed_states(self, batch: Sequence[Tokens]) -> tuple[Tensor, Tensor]:
        from splare_plugins.backbone.packed import attending, packed_inputs

        lengths = [len(tokens.ids) for tokens in batch]
        ids, table = np.concatenate([tokens.ids for tokens in batch]), self._position_table
        first = 0 if table is None else _first_position(table)
        inputs = packed_inputs(lengths, ids, first, self.device)
        with attending(self.device, self.model.dtype):
            states = self.model(**inputs).last_hidden_state[0]
        return states, to_device(torch.from_numpy(np.cumsum([0, *lengths])), states.device)

    @property
    def adapted(self) -> bool:
        """Whether a peft adapter was added and not merged."""
        return bool(getattr(self.model, _ADAPTED, False))

    def save(self, folder: Path) -> str:
        """Write weights (safetensors) without an adapter, config and tokenizer.

        Returns:
            sha256 over the weight files.

        Raises:
            InputError: if the weights are quantised, since they would no longer be those that the model names.
        """
        if getattr(self.model, "is_quantized", False):
            raise InputError("quantised weights are not saved; save the model that they were made from")
        with self._without_adapter() as state:
            self.model.save_pretrained(folder, state_dict=state)
        self.tokenizer.save_pretrained(folder)
        return file_sha256(*sorted(folder.glob("*.safetensors")))

    @contextmanager
    def _without_adapter(self) -> Iterator[dict[str, object] | None]:
        """The weights as they were before the adapter was added; ``None`` for those of the model as it is."""
        if not self.adapted:
            yield None
            return
        names = set(self.model.peft_config)
        for settings in self.model.peft_config.values():
            start = str(getattr(settings, "init_lora_weights", ""))
            if start.startswith(_CHANGE_BASE):
                raise InputError(
                    f"an adapter that began with {start} has changed the weights below it, which are not saved apart "
                    "from it; save without embed=True, from where it is read back as it is"
                )
        state = {
            _WRAPPERS.sub("", key): value
            for key, value in self.model.state_dict().items()
            if names.isdisjoint(key.split("."))  # an adapter's tensors have its name in their path
        }
        with torch.device("meta"):
            plain = type(self.model)(self.model.config).state_dict().keys()
        if unlike := sorted(state.keys() - plain):
            raise InputError(
                f"the weights below this adapter cannot be told from it (at {unlike[0]}); save without embed=True"
            )
        setattr(self.model, _ADAPTED, False)  # with it, transformers saves the adapter and nothing else
        try:
            yield state
        finally:
            setattr(self.model, _ADAPTED, True)


def _first_position(table: nn.Embedding) -> int:
    """The families that pad the table (RoBERTa's) count positions from behind the padding's row."""
    return 0 if table.padding_idx is None else table.padding_idx + 1


def encoding_with(tokenizer: PreTrainedTokenizerFast, max_length: int, **options: Any) -> Encode:
    """A tokenizer of transformers as :func:`tokenise` takes it; ``options`` are more of its call."""

    def encode(texts: list[str]) -> list[Any]:
        given = tokenizer(texts, truncation=True, max_length=max_length, return_attention_mask=False, **options)
        return list(given.encodings)

    return encode


def pack_states(states: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The states of real tokens, text after text.

    Args:
        states: shape ``[texts, tokens, d]``.
        mask: the real tokens, bool, shape ``[texts, tokens]``; on the CPU, a GPU is not waited for.

    Returns:
        states, shape ``[real tokens, d]``; and the first token of each text and the end of the last, shape
        ``[texts + 1]``.
    """
    packed, device = states.flatten(0, 1), states.device
    # Selected by number and not by boolean index, which would sort in backward.
    real = mask.flatten().nonzero().squeeze(1)
    if len(real) < len(packed):
        packed = packed.index_select(0, to_device(real, device))
    return packed, to_device(functional.pad(mask.sum(1).cumsum(0), (1, 0)), device)
