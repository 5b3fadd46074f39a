"""What importers share: encoders in blocks, decoder norms, hooks, and the refusal of what does not fold."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from splare_plugins.errors import InputError
from splare_plugins.heads.importers.tensors import TensorFile
from splare_plugins.heads.sae import SparseAutoencoder

KEPT_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
NOT_RESIDUAL = {
    "hook_z": "the attention heads (hook_z)",
    "attn": "the attention output",
    "mlp": "the MLP output",
    "embed": "the token embeddings",
}


@dataclass(frozen=True, kw_only=True)
class Hints:
    """What a published folder leaves to its name, or to the user.

    Attributes:
        name: the folder's public name; layer, k and L0 are read from it by some suites.
        layer: layer whose output the SAE reads, counted from 0; for files that do not say.
        k: latents a token of a TopK SAE, for files that do not say.
        input_norm: mean norm of the states the SAE was trained on, for files that do not say.
        suite: the format as the user names it, which vouches for what the files cannot show.
    """

    name: str = ""
    layer: int | None = None
    k: int | None = None
    input_norm: float | None = None
    suite: str | None = None

    def given(self) -> dict[str, Any]:
        """Those that say something."""
        return {key: value for key, value in vars(self).items() if value not in (None, "")}


def require_used(hints: Hints, head: SparseAutoencoder, where: Path | str) -> None:
    """Refuse what the user said and the SAE does not have, or says otherwise: an option is used or an error.

    Raises:
        InputError: naming the option and what the files say.
    """
    said = {"--layer": hints.layer, "--k": hints.k, "--input-norm": hints.input_norm}
    found = {"--layer": head.card["layer"], "--k": head.k, "--input-norm": head.card.get("input_norm")}
    for option, value in said.items():
        own = found[option]
        if value is None or (own is not None and math.isclose(value, own, rel_tol=1e-3)):
            continue
        if own is None:
            lacks = "a scale of its input" if option == "--input-norm" else "a fixed number of latents a token"
            raise InputError(f"{where} has no use for {option} {value}: it does not have {lacks}; omit it")
        raise InputError(f"the files of {where} say {own}, and {option} says {value}; omit the option")


def layer_of(hook: object, hints: Hints, where: Path | str) -> int:
    """:func:`residual_layer` of a hook; where the files name none, what the user says.

    Raises:
        InputError: as both do.
    """
    return require_known(hints.layer, where) if hook is None else residual_layer(hook, where)


def input_scale(norm: float, d_model: int, where: Path | str) -> float:
    """The factor that brings states of the mean norm ``norm`` to that of ``sqrt(d_model)``.

    Raises:
        InputError: unless the norm is above 0.
    """
    if not (math.isfinite(norm) and norm > 0):
        raise InputError(f"the mean norm of the states of {where} must be above 0, not {norm}; correct --input-norm")
    return math.sqrt(d_model) / norm


def encoder(
    file: TensorFile,
    weight: str,
    bias: str,
    *,
    transposed: bool,
    gain: Tensor | None = None,
    centre: str | None = None,
) -> tuple[Tensor, Tensor]:
    """The encoder as ``W[width, d]`` and ``b[width]``, which takes states without scale and centre.

    Args:
        file: the weights.
        weight: name of a tensor ``[d, width]`` if ``transposed``, else ``[width, d]``.
        bias: name of a tensor ``[width]``.
        transposed: see ``weight``.
        gain: what each latent is multiplied by, shape ``[width]``, float32.
        centre: name of a tensor ``[d]`` that was subtracted from the states; ``b`` becomes ``b - W centre``.
    """
    W = _matrix(file, weight, transposed=transposed, gain=gain)
    b = file.vector(bias, len(W)) * (1.0 if gain is None else gain)
    if centre is not None:
        vector = file.vector(centre, W.shape[1])
        b -= torch.cat([rows.float() @ vector for rows in W.split(1024)])
    return W, b


def _matrix(file: TensorFile, name: str, *, transposed: bool, gain: Tensor | None) -> Tensor:
    """``W``, each row times its gain, without a second copy of it in memory.

    Half precision stays as published; anything wider than float32 becomes float32.
    """
    rows, columns = file.matrix_shape(name)
    result: Tensor | None = None
    for start, block in file.blocks(name):
        if result is None:
            dtype = block.dtype if block.dtype in KEPT_DTYPES else torch.float32
            result = torch.empty((columns, rows) if transposed else (rows, columns), dtype=dtype)
        stop = start + len(block)
        if transposed:
            result[:, start:stop] = block.T if gain is None else block.T.float() * gain[:, None]
        else:
            result[start:stop] = block if gain is None else block.float() * gain[start:stop, None]
    if result is None:
        raise InputError(f"the tensor {name!r} of {file.path} is empty")
    return result


def decoder_norms(file: TensorFile, name: str, *, width: int, latents_first: bool) -> Tensor:
    """L2 norm of each latent's decoder direction, float32, shape ``[width]``.

    Args:
        file: the weights.
        name: of a tensor ``[width, d]`` if ``latents_first``, else ``[d, width]``.
        width: number of latents that the encoder has.
        latents_first: see ``name``.

    Raises:
        InputError: if the decoder has another width than the encoder.
    """
    shape = file.matrix_shape(name)
    if shape[0 if latents_first else 1] != width:
        raise InputError(f"the decoder {name!r} of {file.path} has shape {shape}, but the encoder has {width} latents")
    if latents_first:
        return torch.cat([block.float().norm(dim=1) for _, block in file.blocks(name)])
    squares = torch.zeros(width, dtype=torch.float64)
    for _, block in file.blocks(name):
        squares += block.double().square().sum(dim=0)
    return squares.sqrt().float()


def require_size(W: Tensor, *, d_model: object, width: object, where: Path | str) -> None:
    """Refuse tensors that are not of the size their config or name says; ``None`` is not compared.

    Raises:
        InputError: naming both sizes.
    """
    for what, said, found in (("width", width, W.shape[0]), ("d_model", d_model, W.shape[1])):
        if said is not None and said != found:
            raise InputError(f"{where} says {what} {said}, but its encoder has {what} {found}; fetch it again")


def residual_layer(hook: object, where: Path | str) -> int:
    """The layer whose output a TransformerLens or Hugging Face hook name means, counted from 0.

    ``blocks.l.hook_resid_post`` and ``model.layers.l.output`` are the output of layer l, ``hidden_states[l + 1]``
    of transformers; ``blocks.l.hook_resid_pre`` is that of layer l - 1.

    Raises:
        InputError: for any other place.
    """
    text = str(hook)
    if match := re.fullmatch(r"(?:blocks\.(\d+)\.hook_resid_post|(?:\w+\.)*layers\.(\d+)(?:\.output)?)", text):
        return int(match[1] or match[2])
    if (match := re.fullmatch(r"blocks\.(\d+)\.hook_resid_pre", text)) and int(match[1]) > 0:
        return int(match[1]) - 1
    place = next((place for part, place in NOT_RESIDUAL.items() if part in text), f"the hook {text!r}")
    raise InputError(f"{where} is an SAE of {place}; only SAEs of the residual stream after a layer are supported")


def require_known(layer: int | None, where: Path | str) -> int:
    """The layer, or a refusal that says how to give it.

    Raises:
        InputError: if it is not known.
    """
    if layer is None:
        raise InputError(f"nothing says which layer {where} belongs to; add --layer")
    return layer


def known_k(k: object, hints: Hints, where: Path | str) -> int:
    """The latents a token of a TopK SAE: what the files say, else the user.

    Raises:
        InputError: if neither does.
    """
    k = k or hints.k
    if not isinstance(k, int | float):
        raise InputError(f"nothing says how many latents a token the TopK SAE {where} keeps; add --k")
    return int(k)


def make_head(
    suite: str,
    W: Tensor,
    b: Tensor,
    theta: Tensor | None = None,
    *,
    k: int | None = None,
    layer: int,
    hook: str,
    scale: str = "raw",
    licence: str | None = None,
    base_model: str | None = None,
    published_l0: float | None = None,
    **more: Any,
) -> SparseAutoencoder:
    """An imported SAE with its card; where it came from is added when it is stored.

    Args:
        suite: name in the table of suites.
        W: as :class:`SparseAutoencoder` takes it.
        b: likewise.
        theta: likewise; thresholds make a JumpReLU.
        k: likewise.
        layer: layer whose output it reads, counted from 0.
        hook: the suite's own name of the place.
        scale: which scale the activations are on.
        licence: of the SAE; ``None`` where the files do not say.
        base_model: hub id of the model it was trained on.
        published_l0: mean number of active latents a token that the authors give.
        **more: anything else worth keeping.
    """
    card = {
        "suite": suite,
        "layer": layer,
        "layers_needed": layer + 1,
        "hook": hook,
        "d_model": W.shape[1],
        "activation": "topk" if k is not None else "relu" if theta is None else "jumprelu",
        "scale": scale,
        "licence": licence,
        "base_model": base_model,
        "published_l0": published_l0,
        **more,
    }
    return SparseAutoencoder(W, b, theta, k=k, card=card)
