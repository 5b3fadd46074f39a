"""Masked next token prediction (LLM2Vec, arXiv 2404.05961): a decoder learns to look both ways before it retrieves."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import SequentialSampler
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from splare_plugins.backbone import Backbone
from splare_plugins.backbone.adapter import WEIGHTS, save_adapter
from splare_plugins.config import SplareConfig
from splare_plugins.corpus import read_documents
from splare_plugins.errors import InputError, SplareError
from splare_plugins.machine.files import file_sha256, replacing
from splare_plugins.training.config import LoraSettings, RunSettings, require
from splare_plugins.training.folder import MODEL, begin, last_checkpoint, require_same_data
from splare_plugins.training.language import LanguageModel, load_language_model
from splare_plugins.training.masking import MaskedTexts, mask_id, masked_loss
from splare_plugins.training.result import publish, with_adapter, write_base
from splare_plugins.training.student import add_adapter, in_bfloat16
from splare_plugins.training.trainer import TrainedWeights, arguments

_LEAST_TOKENS = 4
_LAYER = re.compile(r"layers?\.(\d+)\.")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class MntpConfig(RunSettings):
    """A run of masked (next) token prediction; the defaults are the paper's where it names them.

    Its model is a SPLARE folder, whose backbone is a whole language model, or that language model itself; its
    examples are texts, and its learning rate falls linearly.

    Attributes:
        texts: BEIR folder, JSONL or TSV files, or ``irds:NAME``.
        limit: texts used, the first ones.
        length: tokens of a text.
        mask: share of tokens to predict; of these, 80 % are hidden, 10 % replaced and 10 % left.
        mask_token: what hides a token of a model without a mask token of its own.
        steps: of training.
        lora: the adapter.
    """

    texts: str
    limit: int | None = None
    length: int = 512
    mask: float = 0.2
    mask_token: str = "_"
    steps: int = 10_000
    batch_size: int = 32
    lora: LoraSettings = field(default_factory=lambda: LoraSettings(rank=16))
    log_every: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.mask < 1:
            raise InputError(f"the setting 'mask' is a share between 0 and 1, not {self.mask!r}")
        require(self, length=self.length >= 1, steps=self.steps >= 1)


def mntp(
    config: MntpConfig, *, overwrite: bool = False, callbacks: list[TrainerCallback] | None = None
) -> SplareConfig:
    """Train an adapter on masked tokens, and keep those of its layers that the model has.

    Args:
        config: of the run.
        overwrite: throw away what an earlier run left in the output folder.
        callbacks: told of every step, for a progress bar, say.

    Returns:
        the config of the model, which ``splare train merge`` makes a base of.

    Raises:
        InputError: if the backbone is not a whole language model, or there are no texts.
    """
    state = begin(config, overwrite=overwrite)
    output = Path(config.output)
    bfloat16 = in_bfloat16(config.precision, state.device.type)
    language = load_language_model(
        config.model, attention=config.attention, dtype=torch.bfloat16 if bfloat16 else torch.float32
    )
    texts = _texts(config, language.backbone)
    if state.is_main_process:
        digest = hashlib.sha256(json.dumps(texts).encode()).hexdigest()
        hashes = {"the texts": digest, f"the model {config.model}": language.base.config.fingerprint()}
        require_same_data(output, hashes)
    model = language.backbone.model
    for weight in model.parameters():
        weight.requires_grad = False
    add_adapter(model, config.lora, config.seed)
    if config.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    data = MaskedTexts(
        texts,
        language.backbone,
        length=config.length,
        share=config.mask,
        mask_id=mask_id(language.backbone, config.mask_token),
        items=config.steps * config.batch_size,
        seed=config.seed,
    )
    trainer = _MaskedTrainer(
        language=language,
        model=model,
        args=arguments(TrainingArguments, config, state, max_steps=config.steps, disable_tqdm=True),
        train_dataset=data,
        data_collator=data.collate,
        callbacks=callbacks,
    )
    trainer.remove_callback(PrinterCallback)
    checkpoint = last_checkpoint(output)
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    model.eval()
    saved = language.base.config
    if state.is_main_process:
        saved = publish(output / MODEL, lambda made: _write(language, config, made))
        history = "".join(json.dumps(entry) + "\n" for entry in trainer.state.log_history)
        (output / "log.jsonl").write_text(history, encoding="utf-8")
    state.wait_for_everyone()
    return saved


class _MaskedTrainer(TrainedWeights, Trainer):
    def __init__(self, *, language: LanguageModel, **options: Any) -> None:
        super().__init__(**options)
        self.language = language._replace(head=language.head.to(self.args.device))

    def compute_loss(self, model: nn.Module, inputs: dict[str, Tensor], *_: Any, **__: Any) -> Tensor:
        labels = inputs.pop("labels")
        states = model(**inputs).last_hidden_state
        loss = masked_loss(states, labels, self.language.head, decoder=self.language.decoder)
        if not bool(loss.isfinite()):
            raise SplareError(
                f"step {self.state.global_step + 1}: the loss is {loss.item()}; lower learning_rate, or set "
                "precision: float32"
            )
        return loss

    def _get_train_sampler(self, *_: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)  # type: ignore[arg-type]


def _texts(config: MntpConfig, backbone: Backbone) -> list[str]:
    texts = [document.content for document in islice(read_documents(config.texts), config.limit)]
    tokens = backbone.tokenize(texts, "", config.length)
    kept = [text for text, each in zip(texts, tokens, strict=True) if each.keep.sum() >= _LEAST_TOKENS]
    if len(kept) < config.batch_size:
        raise InputError(f"{config.texts} holds {len(kept)} texts long enough to mask, fewer than batch_size")
    logger.info("%d texts, %d too short", len(kept), len(texts) - len(kept))
    return kept


def _write(language: LanguageModel, config: MntpConfig, made: Path) -> SplareConfig:
    base = language.base.config
    saved = write_base(language.base, made, model=config.model, copy_backbone=config.copy_backbone)
    save_adapter(language.backbone, made / "adapter", base.name)
    weights = made / "adapter" / WEIGHTS
    tensors = load_file(weights)
    if base.layer is not None:
        layers = {name: int(found[1]) for name in tensors if (found := _LAYER.search(name))}
        tensors = {name: tensor for name, tensor in tensors.items() if layers.get(name, 0) <= base.layer}
    with replacing(weights) as beside:  # a new file, since the tensors are read from the old one
        save_file(tensors, beside)
    return with_adapter(saved, file_sha256(weights), name=config.name or f"{base.name}-mntp")
