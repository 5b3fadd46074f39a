"""EleutherAI sparsify: ``<hookpoint>/cfg.json`` and ``sae.safetensors``, TopK SAEs.

The library encodes ``relu(E (x - b_dec) + encoder.bias)`` and keeps the k largest of each token, so ``W = E`` and
``b = encoder.bias - E b_dec``. The hook point ``layers.N``, the output of layer N, is the folder's name.
Source: ``SparseCoder.encode`` of eai-sparsify 1.3.3.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

from splare_plugins.errors import InputError
from splare_plugins.heads.importers import fold
from splare_plugins.heads.importers.fold import Hints
from splare_plugins.heads.importers.tensors import open_tensors
from splare_plugins.heads.sae import SparseAutoencoder
from splare_plugins.machine.files import read_json

NAME = "sparsify"
FILES = ("cfg.json", "sae.safetensors")


def read(folder: Path, hints: Hints) -> SparseAutoencoder:
    """Read one hook point's folder, like ``layers.10``.

    Raises:
        InputError: for transcoders, signed or grouped TopK, places other than a layer's output, and damaged files.
    """
    config = read_json(folder / "cfg.json")
    if config.get("transcode") or config.get("skip_connection"):
        raise InputError(f"{folder} is a transcoder; only SAEs that rebuild their input are supported")
    if config.get("signed"):
        raise InputError(f"{folder} has signed latents, but weights for an index must not be negative")
    if config.get("activation", "topk") != "topk":
        raise InputError(f"{folder} has the activation {config['activation']!r}; only topk is supported")
    k = fold.known_k(config.get("k"), hints, folder)
    hook, layer = _hook(folder, hints)
    with open_tensors(folder / "sae.safetensors") as file:
        W, b = fold.encoder(file, "encoder.weight", "encoder.bias", transposed=False, centre="b_dec")
    said = config.get("num_latents") or int(config.get("expansion_factor", 0)) * int(config.get("d_in", 0)) or None
    fold.require_size(W, d_model=config.get("d_in"), width=said, where=folder)
    return fold.make_head(NAME, W, b, k=k, layer=layer, hook=hook, published_l0=float(k))


def import_library() -> ModuleType:
    """The package sparsify, without what it prints, and without its kernel in Triton, which takes no processor.

    ``SPARSIFY_DISABLE_TRITON=0`` asks for that where a GPU trains.
    """
    os.environ.setdefault("SPARSIFY_DISABLE_TRITON", "1")
    with redirect_stdout(io.StringIO()):
        import sparsify
    return sparsify


def open_library(folder: Path, hints: Hints) -> Callable[[Tensor], Tensor]:
    """Activations as sparsify computes them from the same files."""
    coder = import_library().SparseCoder.load_from_disk(folder).float()

    def activations(states: Tensor) -> Tensor:
        out = coder.to(states.device).encode(states)
        return torch.zeros(len(states), coder.num_latents, device=states.device).scatter(
            1, out.top_indices, out.top_acts
        )

    return activations


def _hook(folder: Path, hints: Hints) -> tuple[str, int]:
    """Hook point and layer: from the folder's published name, its own name, or the user."""
    names = (Path(hints.name).name, folder.name)
    hook = next((name for name in names if re.search(r"layers\.\d|embed", name)), None)
    if hook is None:
        layer = fold.require_known(hints.layer, folder)
        return f"layers.{layer}", layer
    return hook, fold.residual_layer(hook, folder)
