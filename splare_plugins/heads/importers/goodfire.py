"""Goodfire, and qresearch in the same format: one plain ReLU SAE of a Llama, ``{model}-SAE-l{n}.pth`` or ``.pt``.

Repositories ``Goodfire/Llama-3.1-8B-Instruct-SAE-l19``, ``Goodfire/Llama-3.3-70B-Instruct-SAE-l50``,
``qresearch/Llama-3.2-1B-Instruct-SAE-l9``. The file is a state dict of two linear layers, read without running a
pickle's code; ``f = relu(E x + e)`` on the raw output of layer n, so ``W = encoder_linear.weight`` and
``b = encoder_linear.bias``. Source: the notebooks on the repositories' pages.
"""

from __future__ import annotations

from pathlib import Path

from splare_plugins.heads.importers import fold
from splare_plugins.heads.importers.fold import Hints
from splare_plugins.heads.importers.tensors import open_tensors
from splare_plugins.heads.sae import SparseAutoencoder

NAME_1, NAME_2 = "goodfire", "qresearch"
FILES_1, FILES_2 = ("*-SAE-l*.pth",), ("*-SAE-l*.pt",)


def read(folder: Path, hints: Hints) -> SparseAutoencoder:
    """Read the file of the layer ``hints.layer``.

    Raises:
        InputError: if the file is damaged, holds code, or has other tensors.
    """
    layer = fold.require_known(hints.layer, folder)
    path = next(path for end in (".pth", ".pt") for path in sorted(folder.glob(f"*-SAE-l{layer}{end}")))
    with open_tensors(path) as file:
        W, b = fold.encoder(file, "encoder_linear.weight", "encoder_linear.bias", transposed=False)
    model = path.name.partition("-SAE-")[0]
    return fold.make_head(
        NAME_1 if path.suffix == ".pth" else NAME_2,
        W,
        b,
        layer=layer,
        hook=f"model.layers.{layer}",
        base_model=f"meta-llama/{model}" if model.startswith("Llama-") else None,
    )
