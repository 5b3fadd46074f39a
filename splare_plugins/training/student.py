"""The model that is trained: a base with an adapter, and which of its weights move."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized, register_parametrization, remove_parametrizations
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from splare_plugins.backbone import require_bidirectional
from splare_plugins.config import SplareConfig
from splare_plugins.errors import InputError, splare_command
from splare_plugins.heads import Head, load_head
from splare_plugins.model.find import locate_model
from splare_plugins.model.splade import convert_named, recognise_splade
from splare_plugins.model.splare import SplareModel
from splare_plugins.st import SplareEncoder
from splare_plugins.training.config import LoraSettings, TrainingConfig

LINEAR = (nn.Linear, Conv1D)


class Student(NamedTuple):
    """A base model ready for training."""

    encoder: SplareEncoder
    base: SplareModel
    """The same weights, as a model."""
    folder: Path
    """Where the base lies."""


def load_student(config: TrainingConfig, *, device: str) -> Student:
    """Load the base, freeze it, and make what the config names trainable, in float32.

    Raises:
        InputError: if the base cannot be loaded, has an adapter already, or the adapter does not fit it.
    """
    bfloat16 = in_bfloat16(config.precision, device)
    base = SplareModel.load(
        config.model,
        device=device,
        dtype="bfloat16" if bfloat16 and config.lora is not None else "float32",
        attention=config.attention,
    )
    if base.config.adapter is not None and config.lora is not None:
        command = splare_command("train", "merge", config.model, "-o", "FOLDER")
        raise InputError(
            f"{config.model} has an adapter already, and a model has room for one; put it into the weights, and train "
            f"that FOLDER: {command}"
        )
    if base.config.quantization is not None:
        raise InputError(f"{config.model} runs in {base.config.quantization}; train on its full weights instead")
    if config.bidirectional and not base.config.bidirectional:
        base.config = dataclasses.replace(base.config, bidirectional=True)
        base.backbone.model.config.is_causal = False
        require_bidirectional(base.backbone)
    if config.norm_power is not None:
        base.config = dataclasses.replace(base.config, norm_power=config.norm_power)
    longest, room = max(config.query_length, config.document_length), base.backbone.positions
    if room is not None and longest > room:
        raise InputError(f"the backbone of {config.model} has {room} positions; train on at most so many tokens")
    encoder = SplareEncoder.from_splare(base, device=device)
    if config.dropout is not None:
        for part in base.backbone.model.modules():
            if isinstance(part, nn.Dropout):
                part.p = config.dropout
    for weight in encoder.parameters():
        weight.requires_grad = config.lora is None
    for weight in base.head.parameters():
        weight.requires_grad = False
    if config.lora is not None:
        add_adapter(base.backbone.model, config.lora, config.seed)
    if config.head != "frozen":
        _trainable_head(base.head, config.head)
    for weight in encoder.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()
    if config.gradient_checkpointing:
        # Reentrant checkpoints would find no input that needs a gradient below the first adapter.
        base.backbone.model.gradient_checkpointing_enable({"use_reentrant": False})
    return Student(encoder, base, locate_model(config.model))


def in_bfloat16(precision: str, device: str) -> bool:
    """Whether frozen weights and products are in bfloat16: as the setting says, else on cuda."""
    return precision == "bfloat16" or (precision == "auto" and device == "cuda")


class Base(NamedTuple):
    """A base model as it lies on disk."""

    folder: Path
    config: SplareConfig
    head: Head


def read_base(name: str) -> Base:
    """Config and head of a SPLARE or a SPLADE model; a SPLADE model's config names the place of its backbone.

    Raises:
        InputError: if there is no such model.
    """
    folder = locate_model(name)
    if (splade := recognise_splade(folder)) is not None:
        config, head = convert_named(splade, name, folder)
        return Base(folder, dataclasses.replace(config, backbone=str(splade.transformer.resolve())), head)
    config = SplareConfig.load(folder)
    return Base(folder, config, load_head(config.head_kind, folder / config.head, sha256=config.head_sha256))


def add_adapter(model: PreTrainedModel, settings: LoraSettings, seed: int) -> None:
    """Put a new adapter on a headless transformers model, in float32.

    Raises:
        InputError: if it has no such layers.
    """
    from peft import LoraConfig

    depth, last = model.config.num_hidden_layers, settings.last_layers
    if last is not None and not 1 <= last <= depth:
        raise InputError(f"the backbone has {depth} layers, so last_layers cannot be {last}")
    linear = sorted({name.rsplit(".", 1)[-1] for name, part in model.named_modules() if isinstance(part, LINEAR)})
    adapter = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha or 2 * settings.rank,  # type: ignore[arg-type]
        lora_dropout=settings.dropout,
        target_modules=list(settings.targets or linear),
        layers_to_transform=None if last is None else list(range(depth - last, depth)),
    )
    torch.manual_seed(seed)
    try:
        model.add_adapter(adapter)
    except ValueError as error:
        raise InputError(
            f"no adapter can be put on {', '.join(settings.targets or ['this backbone'])}; the linear layers of this "
            f"backbone are called {', '.join(linear)}; peft says: {' '.join(str(error).split())}"
        ) from error
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()


class Gain(nn.Module):
    """A factor of each latent on the rows of a head, trained as its logarithm so that it stays positive."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.logarithm = nn.Parameter(torch.zeros(width))

    def forward(self, rows: Tensor) -> Tensor:
        """The rows times their factors, in their own precision; shape ``[width, d]``."""
        return (rows * self.logarithm.exp()[:, None]).to(rows.dtype)


def restore_rows(head: Head, rows: Tensor) -> None:
    """Give a head the rows that its base has on disk, times a trained gain: training may have rounded its own.

    Args:
        head: whose biases were trained, or biases and gain.
        rows: of the base, shape ``[width, d]``.
    """
    rows = rows.detach().to(head.W.device)
    if is_parametrized(head, "W"):
        gain = head.get_parameter("parametrizations.W.0.logarithm").detach().exp()
        remove_parametrizations(head, "W")
        rows = rows * gain[:, None]
    head.W.data = rows


def _trainable_head(head: Head, which: str) -> None:
    if which == "calibration":
        register_parametrization(head, "W", Gain(head.width).to(head.W.device))
    names = {"bias": ["b"], "calibration": ["b", "parametrizations.W.0.logarithm"]}.get(which)
    for name, weight in head.named_parameters():
        weight.requires_grad = names is None or name in names
