"""How every head lies on disk: tensors as safetensors, a JSON card beside them, and one hash over the tensors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save, save_file
from torch import Tensor

from splare_plugins.config import HEAD_CARD
from splare_plugins.errors import InputError
from splare_plugins.machine.files import file_sha256, usual_mode, write_json

TENSORS = "head.safetensors"
CARD = HEAD_CARD

T = TypeVar("T")


def require_finite(*tensors: Tensor) -> None:
    """Refuse a head's tensors if one has a NaN or an infinity.

    Raises:
        InputError: then.
    """
    # Seen in slices, since a mask of the whole costs its size again.
    if not all(bool(torch.isfinite(part).all()) for tensor in tensors for part in tensor.split(1024)):
        raise InputError("this head has NaN or infinite weights")


def write_record(folder: Path, tensors: Mapping[str, Tensor], card: Mapping[str, Any]) -> str:
    """Write a head's tensors and card into ``folder``, which exists.

    Returns:
        the sha256 of the tensor file, which the card holds as well.
    """
    path = folder / TENSORS
    with usual_mode(path):
        save_file(_plain(tensors), path)
    sha256 = file_sha256(path)
    write_json(folder / CARD, {**card, "sha256": sha256})
    return sha256


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """The hash that :func:`write_record` would return, without a file; it takes the memory of one copy."""
    return hashlib.sha256(save(_plain(tensors))).hexdigest()


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}


def read_record(
    folder: Path, build: Callable[[dict[str, Tensor], dict[str, Any]], T], *, what: str, sha256: str | None = None
) -> T:
    """Read what :func:`write_record` wrote.

    Args:
        folder: the head's folder.
        build: makes the head of tensors and card; a ``KeyError`` of its own means an incomplete record.
        what: what the folder should hold ("SAE head"), for the error message.
        sha256: the hash that the model names; by default the card's.

    Raises:
        InputError: if a part is missing or damaged, or the tensors do not have the hash.
    """
    path = folder / TENSORS
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        expected = sha256 or card["sha256"]
        tensors = load_file(path)
        found = file_sha256(path)
        head = build(tensors, card)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise InputError(f"{folder} does not hold a complete {what} ({error}); fetch or convert it again") from error
    if found != expected:
        raise InputError(f"{path} does not have the hash that its model names; fetch or convert it again")
    return head
