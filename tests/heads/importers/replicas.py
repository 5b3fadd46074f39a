"""Small files in the exact layout of each suite, each with the forward pass of the suite's own definition."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

D, M, K, LAYER = 16, 48, 5, 6
Forward = Callable[[Tensor], Tensor]


class Replica(NamedTuple):
    """A folder as published, and what its SAE computes from states ``[tokens, D]``."""

    folder: Path
    forward: Forward


def topk(values: Tensor, k: int) -> Tensor:
    """The k largest of each row, the others 0."""
    kept = values.topk(k, dim=1)
    return torch.zeros_like(values).scatter(1, kept.indices, kept.values)


def weights(width: int = M, d: int = D) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Encoder ``[width, d]``, its bias, decoder ``[d, width]`` with norms far from 1, its bias, thresholds."""
    torch.manual_seed(3)
    norms = torch.rand(width) + 0.5
    decoder = torch.nn.functional.normalize(torch.randn(d, width), dim=0) * norms
    return torch.randn(width, d), torch.randn(width), decoder, torch.randn(d), torch.rand(width) * 2


def write_json(path: Path, values: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values), encoding="utf-8")


def write_safetensors(path: Path, tensors: dict[str, Tensor]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)


def llama_scope(root: Path, *, tensors: dict[str, Tensor] | None = None, **changes: object) -> Replica:
    E, e, decoder, b_dec, _ = weights()
    folder = root / f"Llama3_1-8B-Base-L{LAYER}R-32x"
    hook = f"blocks.{LAYER}.hook_resid_post"
    config = {
        "hook_point_in": hook,
        "hook_point_out": hook,
        "use_decoder_bias": True,
        "apply_decoder_bias_to_pre_encoder": False,
        "expansion_factor": M // D,
        "d_model": D,
        "d_sae": M,
        "act_fn": "jumprelu",
        "jump_relu_threshold": 1.25,
        "norm_activation": "dataset-wise",
        "dataset_average_activation_norm": {"in": 7.0, "out": 7.0},
        "sparsity_include_decoder_norm": True,
        "decoder_exactly_fixed_norm": False,
        "use_glu_encoder": False,
        "init_decoder_norm": 0.5,
        "top_k": 50,
        "dtype": "torch.bfloat16",
    } | changes
    write_json(folder / "hyperparams.json", config)
    stored = {"encoder.weight": E, "encoder.bias": e, "decoder.weight": decoder, "decoder.bias": b_dec}
    write_safetensors(folder / "checkpoints" / "final.safetensors", tensors or stored)

    def forward(x: Tensor) -> Tensor:
        """The authors' order: scale the input, encode, decoder norms, back to the raw scale, then the threshold."""
        s = math.sqrt(D) / 7.0
        centred = s * x - (b_dec if config["apply_decoder_bias_to_pre_encoder"] else 0)
        hidden = centred @ E.T + e
        if config["sparsity_include_decoder_norm"]:
            hidden = hidden * decoder.norm(dim=0)
        hidden = hidden / s
        if config["act_fn"] == "topk":
            return topk(hidden.relu(), int(config["top_k"]))  # type: ignore[call-overload]
        return hidden * (hidden > config["jump_relu_threshold"])

    return Replica(folder, forward)


def gemma_scope(root: Path, *, lower: bool = False, width: str = "width_48") -> Replica:
    E, e, decoder, b_dec, theta = weights()
    folder = root / "gemma-scope-2b-pt-res" / f"layer_{LAYER}" / width / "average_l0_107"
    folder.mkdir(parents=True)
    letter = "w" if lower else "W"
    arrays = {f"{letter}_enc": E.T, "b_enc": e, f"{letter}_dec": decoder.T, "b_dec": b_dec, "threshold": theta}
    np.savez(folder / "params.npz", **{name: np.ascontiguousarray(array.numpy()) for name, array in arrays.items()})
    return Replica(folder, jumprelu(E, e, theta))


def gemma_scope_2(root: Path, **changes: object) -> Replica:
    E, e, decoder, b_dec, theta = weights()
    folder = root / "resid_post" / f"layer_{LAYER}_width_16k_l0_small"
    hook = f"model.layers.{LAYER}.output"
    config = {
        "hf_hook_point_in": hook,
        "hf_hook_point_out": hook,
        "width": M,
        "model_name": "google/gemma-3-270m",
        "architecture": "jump_relu",
        "l0": 10,
        "affine_connection": False,
        "type": "sae",
    } | changes
    write_json(folder / "config.json", config)
    tensors = {"w_enc": E.T, "b_enc": e, "w_dec": decoder.T, "b_dec": b_dec, "threshold": theta}
    write_safetensors(folder / "params.safetensors", tensors)
    return Replica(folder, jumprelu(E, e, theta))


def jumprelu(E: Tensor, e: Tensor, theta: Tensor) -> Forward:
    def forward(x: Tensor) -> Tensor:
        z = x @ E.T + e
        return z.relu() * (z > theta)

    return forward


def qwen_scope(root: Path) -> Replica:
    E, e, decoder, b_dec, _ = weights()
    folder = root / f"SAE-Res-Qwen3-1.7B-Base-L0_{K}"
    folder.mkdir(parents=True)
    torch.save({"W_enc": E, "W_dec": decoder, "b_enc": e, "b_dec": b_dec}, folder / f"layer{LAYER}.sae.pt")
    return Replica(folder, lambda x: topk((x @ E.T + e).relu(), K))


def saelens(root: Path, *, more: dict[str, Tensor] | None = None, **changes: object) -> Replica:
    E, e, decoder, b_dec, theta = weights()
    folder = root / "saelens"
    config = {
        "architecture": "jumprelu",
        "d_in": D,
        "d_sae": M,
        "dtype": "float32",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {
            "sae_lens_version": "6.54.0",
            "model_name": "gpt2",
            "hook_name": f"blocks.{LAYER}.hook_resid_post",
        },
    } | changes
    old = config["metadata"] is None
    write_json(folder / "cfg.json", {key: value for key, value in config.items() if value is not None})
    tensors = {"W_enc": E.T, "b_enc": e, "W_dec": decoder.T, "b_dec": b_dec} | (more or {})
    if config["architecture"] == "jumprelu":
        tensors["threshold"] = theta
    write_safetensors(folder / "sae_weights.safetensors", tensors)

    def forward(x: Tensor) -> Tensor:
        z = (x - b_dec if config.get("apply_b_dec_to_input", old) else x) @ E.T + e
        if config.get("rescale_acts_by_decoder_norm"):
            z = z * decoder.norm(dim=0)
        if "topk" in (config["architecture"], config.get("activation_fn_str")):
            return topk(z.relu(), K)
        acts = z.relu() * (z > theta) if config["architecture"] == "jumprelu" else z.relu()
        return acts * more["finetuning_scaling_factor"] if more else acts

    return Replica(folder, forward)


def saelens_without_its_default(root: Path) -> Replica:
    """A config that leaves out ``apply_b_dec_to_input``, whose default is true in every version."""
    replica = saelens(root)
    config = json.loads((replica.folder / "cfg.json").read_text(encoding="utf-8"))
    del config["apply_b_dec_to_input"]
    write_json(replica.folder / "cfg.json", config)
    return replica


def saelens_checkpoint(root: Path, scale: float = 0.37) -> Replica:
    """A checkpoint of a training: the scale of its input is still beside the weights."""
    replica = saelens(root, normalize_activations="expected_average_only_in")
    write_json(replica.folder / "activation_scaler.json", {"scaling_factor": scale})
    return Replica(replica.folder, lambda x: replica.forward(scale * x))


def saelens_centred(root: Path) -> Replica:
    """Of a model whose weights TransformerLens centred."""
    replica = saelens(root, model_from_pretrained_kwargs={"center_writing_weights": True})
    return Replica(replica.folder, lambda x: replica.forward(x - x.mean(dim=1, keepdim=True)))


def goodfire(root: Path, owner: str, ending: str) -> Replica:
    E, e, decoder, b_dec, _ = weights()
    name = f"Llama-3.2-1B-Instruct-SAE-l{LAYER}"
    folder = root / owner / name
    folder.mkdir(parents=True)
    linear = {"encoder_linear.weight": E, "encoder_linear.bias": e}
    torch.save(linear | {"decoder_linear.weight": decoder, "decoder_linear.bias": b_dec}, folder / f"{name}.{ending}")
    return Replica(folder, lambda x: (x @ E.T + e).relu())


def sparsify(root: Path, **changes: object) -> Replica:
    E, e, decoder, b_dec, _ = weights()
    folder = root / f"layers.{LAYER}"
    config = {"d_in": D, "expansion_factor": M // D, "num_latents": 0, "k": K, "normalize_decoder": True}
    write_json(folder / "cfg.json", config | {"activation": "topk", "transcode": False} | changes)
    tensors = {"encoder.weight": E, "encoder.bias": e, "W_dec": decoder.T, "b_dec": b_dec}
    write_safetensors(folder / "sae.safetensors", tensors)
    return Replica(folder, lambda x: topk(((x - b_dec) @ E.T + e).relu(), K))


def dictionary_learning(root: Path, dict_class: str, **changes: object) -> Replica:
    E, e, decoder, b_dec, theta = weights()
    folder = root / "trainer_0"
    trainer = {"dict_class": dict_class, "layer": LAYER, "lm_name": "Qwen/Qwen2.5-7B-Instruct", "k": K}
    trainer |= {"activation_dim": D, "dict_size": M, "submodule_name": f"resid_post_layer_{LAYER}"} | changes
    write_json(folder / "config.json", {"trainer": trainer, "buffer": {"d_submodule": D}})
    linear = {"encoder.weight": E, "encoder.bias": e, "decoder.weight": decoder}
    matrices = {"W_enc": E.T, "b_enc": e, "W_dec": decoder.T, "b_dec": b_dec}
    one = torch.tensor(0.75)
    state = {
        "AutoEncoder": linear | {"bias": b_dec},
        "AutoEncoderNew": linear | {"decoder.bias": b_dec},
        "AutoEncoderTopK": linear | {"b_dec": b_dec, "k": torch.tensor(K), "threshold": one},
        "BatchTopKSAE": linear | {"b_dec": b_dec, "k": torch.tensor(K), "threshold": one},
        "MatryoshkaBatchTopKSAE": matrices | {"k": torch.tensor(K), "threshold": one},
        "JumpReluAutoEncoder": matrices | {"threshold": theta},
        "GatedAutoEncoder": linear,
    }[dict_class]
    torch.save(state, folder / "ae.pt")

    def forward(x: Tensor) -> Tensor:
        z = (x if dict_class in ("AutoEncoderNew", "JumpReluAutoEncoder") else x - b_dec) @ E.T + e
        if dict_class == "AutoEncoderTopK":
            return topk(z.relu(), K)
        if "BatchTopK" in dict_class:
            return z.relu() * (z.relu() > one)
        return z.relu() * (z > theta) if dict_class == "JumpReluAutoEncoder" else z.relu()

    return Replica(folder, forward)


def llamascopium(root: Path, *, native: bool, stored_norm: bool = True, **changes: object) -> Replica:
    E, e, decoder, b_dec, theta = weights()
    folder = root / f"L{LAYER}R"
    hook = f"blocks.{LAYER}.hook_resid_post"
    config = {
        "hook_point_in": hook,
        "hook_point_out": hook,
        "d_model": D,
        "expansion_factor": M // D,
        "act_fn": "jumprelu",
        "norm_activation": "dataset-wise",
        "sparsity_include_decoder_norm": native,
        "use_glu_encoder": False,
        "apply_decoder_bias_to_pre_encoder": False,
        "top_k": K,
    } | changes
    write_json(folder / "config.json", config)
    tensors = {"encoder.weight": E, "encoder.bias": e, "decoder.weight": decoder, "decoder.bias": b_dec}
    threshold = "log_jumprelu_threshold"
    if native:
        tensors = {"W_E": E.T, "b_E": e, "W_D": decoder.T, "b_D": b_dec}
        threshold = f"activation_function.{threshold}"
    if stored_norm:
        tensors[f"dataset_average_activation_norm.{hook}"] = torch.tensor(7.0)
    write_safetensors(folder / "sae_weights.safetensors", tensors | {threshold: theta.log()})
    n = decoder.norm(dim=0) if config["sparsity_include_decoder_norm"] else torch.ones(M)

    def forward(x: Tensor) -> Tensor:
        """The library's activations, on our scale: raw states, unit decoder norms."""
        s = math.sqrt(D) / 7.0
        z = (s * x) @ E.T + e
        selected = topk((z * n).relu(), K) if config["act_fn"] == "topk" else z * n * (z * n > theta)
        return selected / n * n / s

    return Replica(folder, forward)
