"""From a config to a backbone in memory.

What silently goes wrong here in the field is a decoder that stayed causal, or a state taken after the final
norm instead of before it; see :func:`require_bidirectional` and :func:`drop_final_norm`.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    MODEL_MAPPING,
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    GgufConfig,
    PreTrainedConfig,
    PreTrainedModel,
)

from splare_plugins.backbone.adapter import apply_adapter
from splare_plugins.backbone.backbone import Backbone
from splare_plugins.backbone.final_norm import drop_final_norm
from splare_plugins.backbone.fit import pack_where_it_fits
from splare_plugins.backbone.guard import require_bidirectional
from splare_plugins.backbone.placement import DeviceMap, choose_attention, placement_options
from splare_plugins.backbone.source import Source, find_backbone
from splare_plugins.config import SplareConfig
from splare_plugins.errors import InputError
from splare_plugins.machine.packages import require_package

logger = logging.getLogger(__name__)

# Where models of text and images keep the part that reads text, for example Gemma 3 from 4B on.
_TEXT_PART = {r"^(model\.)?language_model\.(model\.)?": ""}


def load_backbone(
    config: SplareConfig,
    folder: Path,
    *,
    device: torch.device,
    dtype: torch.dtype,
    attention: str = "auto",
    device_map: DeviceMap | None = None,
    local_files_only: bool = False,
) -> Backbone:
    """Load the backbone that ``config`` names, cut after its layer, with its adapter.

    Later layers, a language-model head and a vision tower are never read into memory.

    Args:
        config: names the backbone (see :func:`find_backbone`), its adapter and its quantisation.
        folder: the model folder.
        device: where to put it; not used with ``device_map``.
        dtype: of the weights.
        attention: transformers' name of an implementation; ``"packed"`` has no padding; ``"auto"`` takes the fastest
            that the model allows.
        device_map: spread the weights over devices with accelerate: ``"auto"`` or a dict.
        local_files_only: never ask a hub.

    Raises:
        InputError: if the backbone cannot be found or read, has no such layer, or lacks a weight.
        MissingPartError: if accelerate, bitsandbytes or gguf is needed and not installed.
        SplareError: if it is meant to be bidirectional and is not.
    """
    source = find_backbone(config, folder, local_files_only=local_files_only)
    if source.gguf:
        require_package("gguf", "GGUF files", "gguf")
        if config.quantization is not None:
            raise InputError(f"the GGUF file of {source.name} is quantised already; omit the quantisation")
    try:
        whole = AutoConfig.from_pretrained(source.name, **source.options, trust_remote_code=False)
        settings = whole.get_text_config()
        cut_layers(settings, config.layer, source.name)
        model, loading = _load(settings, source, config, device, dtype, attention, device_map, whole is not settings)
        tokenizer = AutoTokenizer.from_pretrained(source.name, **source.options, trust_remote_code=False)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"cannot load the backbone {source.name} of {config.name}: {reason}") from error
    # Only on the loaded config does this reach the mask functions; transformers drops it elsewhere.
    model.config.__dict__.pop("is_causal", None)
    if config.bidirectional:
        model.config.is_causal = False
    if config.adapter is not None:  # before the first run, after which bitsandbytes' weights for a CPU take none
        model = apply_adapter(model, folder / config.adapter, config.adapter_sha256)
    backbone = Backbone(model.eval(), tokenizer)
    dropped: list[str] = []
    if not config.final_norm:
        with _first_run(backbone, config):
            dropped = drop_final_norm(backbone)
    # transformers would go on with random numbers; a folder that was saved without its final norm lacks that alone.
    if missing := sorted(key for key in loading["missing_keys"] if key.rpartition(".")[0] not in dropped):
        raise InputError(
            f"the backbone {source.name} of {config.name} lacks {missing[0]} and {len(missing) - 1} more tensors; "
            "fetch it again"
        )
    if config.bidirectional:
        with _first_run(backbone, config):
            require_bidirectional(backbone)
    if attention in ("auto", "packed"):
        _pack(backbone, config, required=attention == "packed")
    return backbone


@torch.inference_mode()
def _pack(backbone: Backbone, config: SplareConfig, *, required: bool) -> None:
    if backbone.device.type != "cuda" and not required:
        return
    longest = max(config.query.max_length, config.document.max_length)
    reason = pack_where_it_fits(backbone, longest=longest, anywhere=required)
    if reason is not None and required:
        raise InputError(f"{type(backbone.model).__name__} cannot take packed texts: {reason}; use the attention auto")
    if reason is not None:
        logger.info("texts are padded for %s: %s", type(backbone.model).__name__, reason)


def _load(
    settings: PreTrainedConfig,
    source: Source,
    config: SplareConfig,
    device: torch.device,
    dtype: torch.dtype,
    attention: str,
    device_map: DeviceMap | None,
    part_of_another: bool,
) -> tuple[PreTrainedModel, dict[str, Any]]:
    found = MODEL_MAPPING.get(type(settings), None)
    family = found if isinstance(found, type) else None
    if getattr(settings, "quantization_config", None):
        if config.quantization is not None:
            raise InputError(f"the weights of {source.name} are quantised already; omit the quantisation")
        device_map = device_map or {"": str(device)}  # such weights cannot be moved later
    options = placement_options(device, device_map, config.quantization, dtype)
    if source.gguf:
        options["quantization_config"] = GgufConfig(dequantize=True)
    if part_of_another:
        options["key_mapping"] = _TEXT_PART
    if family is not None and "add_pooling_layer" in inspect.signature(family).parameters:
        options["add_pooling_layer"] = False
    with _without_load_report():
        model, loading = AutoModel.from_pretrained(
            source.name,
            config=settings,
            dtype=dtype,
            use_safetensors=not source.gguf,
            attn_implementation=choose_attention(attention, family, device, dtype),
            output_loading_info=True,
            trust_remote_code=False,
            **source.options,
            **options,
        )
    if part_of_another:  # saved under its own names: transformers cannot turn the renaming round
        model.__dict__.pop("_weight_conversions", None)
    return model if "device_map" in options else model.to(device), loading


@contextmanager
def _first_run(backbone: Backbone, config: SplareConfig) -> Iterator[None]:
    """The checks are the first to use the kernels, so these fail here if they do not fit."""
    try:
        yield
    except (RuntimeError, AssertionError, ValueError) as error:
        weights = f"{config.quantization} weights" if config.quantization else f"{backbone.model.dtype} weights"
        attention = backbone.model.config._attn_implementation
        raise InputError(
            f"the backbone of {config.name} does not run here with {weights} and the attention {attention!r}, try "
            f"others: {' '.join(str(error).split())}"
        ) from error


def cut_layers(settings: PreTrainedConfig, layer: int | None, name: str) -> None:
    """Make ``settings`` those of the same model with no layer after ``layer``."""
    if layer is None:
        return
    depth = settings.num_hidden_layers
    if not 0 <= layer < depth:
        raise InputError(f"there is no layer {layer} in the backbone {name}, which has {depth}: 0 to {depth - 1}")
    settings.num_hidden_layers = layer + 1
    if getattr(settings, "layer_types", None):
        settings.layer_types = settings.layer_types[: layer + 1]


@contextmanager
def _without_load_report() -> Iterator[None]:
    """Silence transformers' table of weights left in the file: here they are left on purpose."""

    def is_other(record: logging.LogRecord) -> bool:
        return "LOAD REPORT" not in record.getMessage()

    logger = logging.getLogger("transformers.modeling_utils")
    logger.addFilter(is_other)
    try:
        yield
    finally:
        logger.removeFilter(is_other)
