"""The transformer under a SPLARE model: cut after the SAE's layer, bidirectional, and checked at load.

What silently goes wrong here in the field is a decoder that stayed causal, or a state taken after the final
norm instead of before it; see :func:`require_bidirectional` and :func:`_cut`.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from transformers import MODEL_MAPPING, AutoConfig, AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

from splare_plugins.config import SplareConfig
from splare_plugins.errors import InputError, SplareError
from splare_plugins.files import file_sha256

FINAL_NORMS = ("norm", "final_norm", "final_layernorm", "ln_f")


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
        """Where the weights are."""
        device: torch.device = self.model.device
        return device

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

        Returns:
            states, shape ``[tokens, d]``, text after text; and offsets, shape ``[texts + 1]``.
        """
        lengths = [len(tokens.ids) for tokens in batch]
        ids = np.full((len(batch), max(lengths)), self.pad_id, dtype=np.int64)
        for row, tokens in enumerate(batch):
            ids[row, : len(tokens.ids)] = tokens.ids
        offsets = torch.tensor([0, *np.cumsum(lengths)], device=self.device)
        padded = len(set(lengths)) > 1
        mask = torch.arange(ids.shape[1])[None, :] < torch.tensor(lengths)[:, None]
        mask = mask.to(self.device)
        # Without padding no mask is passed: the attention kernels are faster without one.
        output = self.model(
            input_ids=torch.from_numpy(ids).to(self.device), attention_mask=mask.long() if padded else None
        )
        return output.last_hidden_state[mask], offsets

    def save(self, folder: Path) -> None:
        """Write weights (safetensors), config and tokenizer."""
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


def load_backbone(
    config: SplareConfig,
    folder: Path,
    *,
    device: torch.device,
    dtype: torch.dtype,
    local_files_only: bool = False,
) -> Backbone:
    """Load the backbone that ``config`` names, cut after its layer, with its adapter merged in.

    Args:
        config: names the backbone (a folder inside ``folder``, another path, or a hub id) and its adapter.
        folder: the model folder.
        device: where to put it.
        dtype: of the weights.
        local_files_only: never ask a hub.

    Raises:
        InputError: if the backbone cannot be found or read.
        SplareError: if it is meant to be bidirectional and is not.
    """
    inside = folder / config.backbone
    source = str(inside) if inside.is_dir() else config.backbone
    hub = {} if inside.is_dir() else {"revision": config.backbone_revision, "local_files_only": local_files_only}
    try:
        settings = AutoConfig.from_pretrained(source, **hub)
        settings.num_hidden_layers = settings.num_hidden_layers if config.layer is None else config.layer + 1
        if getattr(settings, "layer_types", None):
            settings.layer_types = settings.layer_types[: settings.num_hidden_layers]
        model = AutoModel.from_pretrained(source, config=settings, dtype=dtype, **hub, **_without_pooler(settings))
        tokenizer = AutoTokenizer.from_pretrained(source, **hub)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot load the backbone {source} of {config.name}: {error}") from error
    _cut(model, keep_final_norm=config.final_norm)
    # Only on the loaded config does this reach the mask functions; transformers drops it elsewhere.
    model.config.is_causal = not config.bidirectional
    if config.adapter is not None:
        model = _with_adapter(model, folder / config.adapter, config.adapter_sha256)
    backbone = Backbone(model.to(device).eval(), tokenizer)
    if config.bidirectional:
        require_bidirectional(backbone)
    return backbone


@torch.inference_mode()
def require_bidirectional(backbone: Backbone) -> None:
    """Raise unless the first token's state depends on the last token, with and without padding.

    Raises:
        SplareError: if attention is causal.
    """
    size = min(backbone.model.get_input_embeddings().num_embeddings, 1000)
    first = torch.arange(8) % size
    second = torch.cat([first[:-1], (first[-1:] + size // 2) % size])
    for padding in (0, 4):
        ids = nn.functional.pad(torch.stack([first, second]), (0, padding), value=backbone.pad_id)
        mask = (torch.arange(8 + padding) < 8).long().expand(2, -1)
        states = backbone.model(
            input_ids=ids.to(backbone.device), attention_mask=mask.to(backbone.device) if padding else None
        ).last_hidden_state
        if torch.equal(states[0, 0], states[1, 0]):
            raise SplareError(
                f"{type(backbone.model).__name__} stayed causal although the model's config asks for bidirectional "
                "attention; use transformers >= 5.2 and attention 'sdpa' or 'eager', or set bidirectional to false"
            )


def _with_adapter(model: PreTrainedModel, folder: Path, sha256: str | None) -> PreTrainedModel:
    """The model with a peft adapter merged into its weights."""
    from peft import PeftModel

    weights = folder / "adapter_model.safetensors"
    if not weights.is_file():
        raise InputError(f"{folder} holds no adapter_model.safetensors; save the adapter with peft again")
    if sha256 is not None and file_sha256(weights) != sha256:
        raise InputError(f"{weights} does not have the hash that its model names; fetch the model again")
    return PeftModel.from_pretrained(model, folder).merge_and_unload()


def _without_pooler(settings: object) -> dict[str, bool]:
    kind = MODEL_MAPPING.get(type(settings), None)
    takes = kind is not None and "add_pooling_layer" in inspect.signature(kind.__init__).parameters
    return {"add_pooling_layer": False} if takes else {}


def _cut(model: PreTrainedModel, *, keep_final_norm: bool) -> None:
    """Make ``last_hidden_state`` the raw residual stream, which is what residual SAEs were trained on."""
    if keep_final_norm:
        return
    for name in FINAL_NORMS:
        if isinstance(getattr(model, name, None), nn.Module):
            setattr(model, name, nn.Identity())
