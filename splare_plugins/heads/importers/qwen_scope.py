"""Qwen-Scope: TopK SAEs of every layer of Qwen3 and Qwen3.5 models, one ``layer{n}.sae.pt`` a layer.

Repositories ``Qwen/SAE-Res-{model}-W{n}K-L0_{k}``. The input is the raw residual stream without a pre-bias;
``W = W_enc`` (stored ``[width, d]``), ``b = b_enc``, and each token keeps its k largest positive latents. k stands in
the repository's name only. Source: the model cards; arXiv 2605.11887.
"""

from __future__ import annotations

import re
from pathlib import Path

from splare_plugins.errors import InputError
from splare_plugins.heads.importers import fold
from splare_plugins.heads.importers.fold import Hints
from splare_plugins.heads.importers.tensors import open_tensors
from splare_plugins.heads.sae import SparseAutoencoder

NAME = "qwen-scope"
FILES = ("layer*.sae.pt",)


def read(folder: Path, hints: Hints) -> SparseAutoencoder:
    """Read the file of the layer ``hints.layer``.

    Raises:
        InputError: if the layer or k is not known, or the file is damaged.
    """
    layer = fold.require_known(hints.layer, folder)
    name = hints.name or str(folder)
    match = re.search(r"-L0_(\d+)", name)
    k = fold.known_k(match and int(match[1]), hints, name)
    with open_tensors(folder / f"layer{layer}.sae.pt") as file:
        width, d_model = file.matrix_shape("W_enc")
        if file.shape("W_dec") != (d_model, width):
            raise InputError(
                f"{file.path} has an encoder of shape {(width, d_model)} and a decoder of shape {file.shape('W_dec')}"
            )
        W, b = fold.encoder(file, "W_enc", "b_enc", transposed=False)
    said = re.search(r"-W(\d+)K-", name)
    fold.require_size(W, d_model=None, width=int(said[1]) * 1024 if said else None, where=name)
    model = re.search(r"SAE-Res-(Qwen[\w.-]+?)-W\d+K", name)
    return fold.make_head(
        NAME,
        W,
        b,
        k=k,
        layer=layer,
        hook=f"model.layers.{layer}.output",
        licence="other (qwen)",
        base_model=f"Qwen/{model[1]}" if model else None,
        published_l0=float(k),
    )
