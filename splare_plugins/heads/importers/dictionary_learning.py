"""dictionary_learning (``ae.pt`` and ``config.json``): ReLU, TopK, BatchTopK, Matryoshka and JumpReLU SAEs.

Formulas by ``trainer.dict_class``, from the library's ``dictionary.py`` and ``trainers/``, ``f = relu(z)``::

    AutoEncoder                           z = E (x - bias) + e            f
    AutoEncoderNew                        z = E x + e                     f
    AutoEncoderTopK                       z = E (x - b_dec) + e           the k largest f of a token
    BatchTopKSAE, MatryoshkaBatchTopKSAE  z = E (x - b_dec) + e           f where f > threshold
    JumpReluAutoEncoder                   z = E x + e                     f where z > threshold

The encoder is ``encoder.weight [M, d]`` or ``W_enc [d, M]``. TopK files store a threshold that their own encode
does not use.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from splare_plugins.errors import InputError
from splare_plugins.heads.importers import fold
from splare_plugins.heads.importers.fold import Hints
from splare_plugins.heads.importers.tensors import TensorFile, open_tensors
from splare_plugins.heads.sae import SparseAutoencoder
from splare_plugins.machine.files import read_json

NAME = "dictionary-learning"
FILES = ("config.json", "ae.pt")


class Kind(NamedTuple):
    """How one class of the library encodes."""

    activation: str
    centred: bool
    """Whether the decoder's bias is subtracted from the input."""


KINDS = {
    "AutoEncoder": Kind("relu", centred=True),
    "AutoEncoderNew": Kind("relu", centred=False),
    "AutoEncoderTopK": Kind("topk", centred=True),
    "BatchTopKSAE": Kind("jumprelu", centred=True),
    "MatryoshkaBatchTopKSAE": Kind("jumprelu", centred=True),
    "JumpReluAutoEncoder": Kind("jumprelu", centred=False),
}
BIASES = ("b_dec", "bias", "decoder_bias")


def read(folder: Path, hints: Hints) -> SparseAutoencoder:
    """Read one trainer's folder.

    Raises:
        InputError: for gated SAEs and unknown classes, places other than a layer's output, and damaged files.
    """
    trainer = read_json(folder / "config.json").get("trainer")
    if not isinstance(trainer, dict):
        raise InputError(f"{folder}/config.json has no 'trainer', so it is not one of dictionary_learning")
    kind = KINDS.get(str(trainer.get("dict_class")))
    if kind is None:
        raise InputError(
            f"{folder} is a {trainer.get('dict_class')!r}; of dictionary_learning, {', '.join(KINDS)} are supported"
        )
    layer = _layer(trainer, folder, hints)
    with open_tensors(folder / "ae.pt") as file:
        transposed = "W_enc" in file.shapes
        weight = "W_enc" if transposed else "encoder.weight"
        bias = "b_enc" if "b_enc" in file.shapes else "encoder.bias"
        centre = next((name for name in BIASES if name in file.shapes), BIASES[0]) if kind.centred else None
        W, b = fold.encoder(file, weight, bias, transposed=transposed, centre=centre)
        # BatchTopK files of unfinished runs hold the threshold -1, which lets every positive value pass.
        theta = file.vector("threshold", len(W)).clamp(min=0) if kind.activation == "jumprelu" else None
        k = _k(trainer, file, folder, hints) if kind.activation == "topk" else None
    fold.require_size(W, d_model=trainer.get("activation_dim"), width=trainer.get("dict_size"), where=folder)
    return fold.make_head(
        NAME,
        W,
        b,
        theta,
        k=k,
        layer=layer,
        hook=str(trainer.get("submodule_name") or f"resid_post_layer_{layer}"),
        base_model=trainer.get("lm_name"),
        published_l0=float(trainer["k"]) if trainer.get("k") else None,
        dict_class=trainer["dict_class"],
    )


def _k(trainer: dict[str, Any], file: TensorFile, folder: Path, hints: Hints) -> int:
    return fold.known_k(file.vector("k", 1).item() if "k" in file.shapes else trainer.get("k"), hints, folder)


def _layer(trainer: dict[str, Any], folder: Path, hints: Hints) -> int:
    """``submodule_name`` is ``resid_post_layer_N``; configs without it mean the residual stream after ``layer``."""
    place = str(trainer.get("submodule_name") or "")
    if place and (match := re.fullmatch(r"resid_post_layer_(\d+)", place)):
        return int(match[1])
    if place and not re.fullmatch(r"(?:resid(?:_post)?|residual)", place):
        return fold.residual_layer(place, folder)
    layer = trainer.get("layer")
    return fold.require_known(hints.layer if layer is None else int(layer), folder)
