"""How a backbone's weights lie in memory and which kernels read them: device, dtype, attention, quantisation."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from splare_plugins.errors import InputError
from splare_plugins.machine.packages import require_package

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ATTENTIONS = ("auto", "eager", "sdpa", "flex_attention", "flash_attention_2", "packed")
QUANTIZATIONS = ("8bit", "4bit")
DTYPES = ("float32", "bfloat16", "float16")
DeviceMap = str | dict[str, int | str]


def choose_device(name: str, device_map: DeviceMap | None) -> torch.device:
    """The device of that name; ``"auto"`` takes cuda, else mps, else cpu."""
    if device_map is not None:
        if name != "auto":
            raise InputError(f"give a device ({name}) or a device map, not both")
        if isinstance(device_map, dict) and {str(place) for place in device_map.values()} <= {"cpu", "disk"}:
            return torch.device("cpu")
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"the device {name!r} cannot be used here; try auto or cpu") from error
    return device


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor there; a GPU at work is not waited for."""
    if device.type != "cuda" or tensor.device.type == "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def choose_precision(dtype: str | torch.dtype, device: torch.device) -> torch.dtype:
    """The dtype of that name; ``"auto"`` is bfloat16 on cuda and float32 elsewhere."""
    if dtype == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    name = str(dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise InputError(f"there is no dtype {name!r} for weights; try auto, {' or '.join(DTYPES)}")
    precision: torch.dtype = getattr(torch, name)
    return precision


def choose_attention(
    asked: str, family: type[PreTrainedModel] | None, device: torch.device, dtype: torch.dtype
) -> str | None:
    """The attention implementation for transformers; ``None`` is its own choice, sdpa.

    Whether texts are packed is decided when the model runs, from ``"auto"``.

    Gemma 2 caps its attention scores, which sdpa cannot: on CUDA it takes flash attention where that is installed
    and flex attention otherwise, elsewhere the plain formula.

    Raises:
        InputError: for an unknown name, or one that the family or this machine does not have.
    """
    from transformers.utils import is_flash_attn_2_available

    if asked not in ATTENTIONS:
        raise InputError(f"there is no attention {asked!r}; try one of {', '.join(ATTENTIONS)}")
    if asked == "packed":
        asked = "auto"
    fits_flash = is_flash_attn_2_available() and dtype in (torch.float16, torch.bfloat16) and device.type == "cuda"
    if asked == "flash_attention_2" and not fits_flash:
        raise InputError(
            "the attention 'flash_attention_2' needs the package flash-attn, a cuda device and bfloat16 or float16; "
            "try auto"
        )
    if family is None:
        return None if asked == "auto" else asked
    # Only asked for: a new family without one of these flags is transformers' to judge.
    # transformers 5.17 to 5.20 say that sdpa fits Gemma 2, and then omit its cap without a word.
    capped = getattr(family.config_class, "attn_logit_softcapping", None) is not None
    supported = {
        "sdpa": family._supports_sdpa and not capped,
        "flex_attention": family._supports_flex_attn,
        "flash_attention_2": family._supports_flash_attn,
        "eager": True,
    }
    if asked == "auto":
        if supported["sdpa"] or device.type != "cuda":
            return None if supported["sdpa"] else "eager"
        ready = {"flash_attention_2": fits_flash, "flex_attention": True, "eager": True}
        return next(name for name, here in ready.items() if here and supported[name])
    if not supported[asked]:
        others = ", ".join(name for name, can in supported.items() if can)
        raise InputError(f"{family.__name__} cannot use the attention {asked!r}; try auto, or one of {others}")
    return asked


def placement_options(
    device: torch.device, device_map: DeviceMap | None, quantization: str | None, dtype: torch.dtype
) -> dict[str, Any]:
    """Arguments of ``from_pretrained`` that say where weights go and in how many bits.

    Raises:
        InputError: for an unknown quantisation.
        MissingPartError: if accelerate or bitsandbytes is needed and not installed.
    """
    options: dict[str, Any] = {}
    if quantization is not None:
        if quantization not in QUANTIZATIONS:
            raise InputError(f"there is no quantisation {quantization!r}; try 8bit, 4bit or int8")
        require_package("bitsandbytes", f"{quantization} weights", "quantized")
        quiet_bitsandbytes()
        from transformers import BitsAndBytesConfig

        options["quantization_config"] = (
            BitsAndBytesConfig(load_in_8bit=True)
            if quantization == "8bit"
            else BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)
        )
        options["device_map"] = {"": str(device)}
    if device_map is not None:
        options["device_map"] = device_map
    if "device_map" in options:
        require_package("accelerate", "device maps", "quantized")
    return options


def quiet_bitsandbytes() -> None:
    """Silence its warnings: at import of kernels that it does without, at each matrix product of its rounding."""
    for name in ("backends.cpu.ops", "autograd._functions"):
        logging.getLogger(f"bitsandbytes.{name}").setLevel(logging.ERROR)
