"""Gemma Scope: JumpReLU SAEs of Gemma 2 (``params.npz``) and, as Gemma Scope 2, of Gemma 3 (safetensors).

Repositories ``google/gemma-scope-{2b-pt,9b-pt,9b-it,27b-pt}-res`` and
``google/gemma-scope-2-{270m,1b,4b,12b,27b}-{pt,it}``. The released weights take the raw residual stream, without
input scale or pre-bias: ``a = relu(z) [z > threshold]`` with ``z = x W_enc + b_enc``, so::

    W = W_enc^T        b = b_enc        theta = threshold

Source: the release notebooks of Google DeepMind; arXiv 2408.05147, section 2.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from splare_plugins.errors import InputError
from splare_plugins.heads.importers import fold
from splare_plugins.heads.importers.fold import Hints
from splare_plugins.heads.importers.tensors import open_tensors
from splare_plugins.heads.sae import SparseAutoencoder
from splare_plugins.machine.files import read_json

NAME_1 = "gemma-scope"
FILES_1 = ("params.npz",)
NAME_2 = "gemma-scope-2"
FILES_2 = ("params.safetensors",)
OPTIONAL_2 = ("config.json",)
OTHER_PLACES = {"-att": "the attention output", "-mlp": "the MLP output", "-transcoders": "a transcoder"}


def read_gemma_2(folder: Path, hints: Hints) -> SparseAutoencoder:
    """Read one folder like ``layer_6/width_65k/average_l0_107``; layer and L0 stand in its name only.

    Raises:
        InputError: for embedding SAEs, attention and MLP SAEs and transcoders, an unknown layer, and damaged files.
    """
    name = hints.name or str(folder)
    for suffix, place in OTHER_PLACES.items():
        if re.search(rf"gemma-scope-[\w-]*{suffix}(?![\w-])", name):
            raise InputError(f"{name} is an SAE of {place}; only the repositories that end in -res are supported")
    if hints.suite is None and not re.search(r"gemma-scope-[\w-]*-res(?![\w-])", name):
        raise InputError(
            f"nothing in the name {name} says that this is an SAE after a layer, and those of the MLP and transcoders "
            f"have the same files; if it comes from a repository that ends in -res, add --suite {NAME_1}"
        )
    if re.search(r"(^|/)embedding(/|$)", name):
        raise InputError(f"{name} is an SAE of the token embeddings; only SAEs after a layer are supported")
    layer = int(found[1]) if (found := re.search(r"layer_(\d+)", name)) else hints.layer
    model = re.search(r"gemma-scope-(\d+b)-(pt|it)", name)
    l0 = re.search(r"average_l0_(\d+)", name)
    layer = fold.require_known(layer, folder)
    head = _read(
        folder / FILES_1[0],
        NAME_1,
        layer=layer,
        hook=f"blocks.{layer}.hook_resid_post",
        base_model=f"google/gemma-2-{model[1]}{'-it' if model[2] == 'it' else ''}" if model else None,
        published_l0=float(l0[1]) if l0 else None,
    )
    fold.require_size(head.W, d_model=None, width=_width(name, head.width), where=name)
    return head


def read_gemma_3(folder: Path, hints: Hints) -> SparseAutoencoder:
    """Read one folder like ``resid_post/layer_12_width_16k_l0_small`` by its ``config.json``, or by its name.

    Raises:
        InputError: for transcoders, places other than the residual stream, other activations, and damaged files.
    """
    path = folder / "config.json"
    config = read_json(path) if path.is_file() else _config_of_name(hints.name or str(folder))
    into, out = config.get("hf_hook_point_in"), config.get("hf_hook_point_out")
    kind = config.get("type", "sae")
    if kind != "sae" or config.get("affine_connection") or (out is not None and out != into):
        raise InputError(f"{folder} is a transcoder ({kind}, {into} to {out}); only SAEs are supported")
    if config.get("architecture", "jump_relu") not in ("jump_relu", "jumprelu"):
        raise InputError(f"{folder} has the architecture {config['architecture']!r}; only jump_relu is supported")
    head = _read(
        folder / FILES_2[0],
        NAME_2,
        layer=fold.residual_layer(into, folder),
        hook=str(into),
        base_model=config.get("model_name"),
        published_l0=config.get("l0"),
    )
    said = _width(config["name"], head.width) if "name" in config else config.get("width")
    fold.require_size(head.W, d_model=None, width=said, where=folder)
    return head


def _config_of_name(name: str) -> dict[str, Any]:
    """What the names of a folder without a ``config.json`` say, as that file would."""
    place = re.search(r"(?:^|/)([a-z_]+)/layer_(\d+)_width_\w+$", name.rstrip("/"))
    if place is None or not re.fullmatch(r"resid_post(_all)?", place[1]):
        raise InputError(
            f"{name} has no config.json, and its name is not like .../resid_post/layer_9_width_16k_l0_small; fetch "
            "its config.json too, or keep the folders' names"
        )
    model = re.search(r"gemma-scope-2-(\w+)-(pt|it)(?=/|$)", name)
    ending = {"it": "-it", "pt": "" if model and model[1] == "270m" else "-pt"}  # as the hub spells them
    base = f"google/gemma-3-{model[1]}{ending[model[2]]}" if model else None
    hook = f"model.layers.{place[2]}.output"
    return {"hf_hook_point_in": hook, "model_name": base, "name": name}


def _read(path: Path, suite: str, **about: Any) -> SparseAutoencoder:
    with open_tensors(path) as file:
        # Some files spell W_enc in lower case.
        name = "w_enc" if "w_enc" in file.shapes else "W_enc"
        W, b = fold.encoder(file, name, "b_enc", transposed=True)
        theta = file.vector("threshold", len(W)).clamp(min=0)
    return fold.make_head(suite, W, b, theta, licence="cc-by-4.0", **about)


def _width(name: str, found: int) -> int | None:
    """The width that a folder's name says: 16k is 2^14, 1m is 2^20; small differences are a name's rounding."""
    match = re.search(r"width_(\d+)(k|m)", name)
    if match is None:
        return None
    said = int(match[1]) * (1_000 if match[2] == "k" else 1_000_000)
    return found if 0.95 <= found / said <= 1.06 else said
