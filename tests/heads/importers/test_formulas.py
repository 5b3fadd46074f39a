"""Every suite: what the imported record computes is what the suite defines."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from splare_plugins.heads import SparseAutoencoder
from splare_plugins.heads.importers import Hints, import_sae
from tests.heads.importers import replicas
from tests.heads.importers.replicas import LAYER, D, K, M

OLD = {
    "metadata": None,
    "hook_point": f"blocks.{LAYER}.hook_resid_post",
    "apply_b_dec_to_input": True,
    "architecture": "standard",
    "activation_fn_str": "topk",
    "activation_fn_kwargs": {"k": K},
    "normalize_activations": False,
}
FACTOR = {"finetuning_scaling_factor": torch.linspace(0.5, 2, M)}
CASES = {
    "llama-scope": lambda root: replicas.llama_scope(root),
    "llama-scope, no decoder norms": lambda root: replicas.llama_scope(root, sparsity_include_decoder_norm=False),
    "llama-scope, decoder bias": lambda root: replicas.llama_scope(root, apply_decoder_bias_to_pre_encoder=True),
    "llama-scope, topk": lambda root: replicas.llama_scope(root, act_fn="topk", top_k=K),
    "gemma-scope": lambda root: replicas.gemma_scope(root),
    "gemma-scope, lower case": lambda root: replicas.gemma_scope(root, lower=True),
    "gemma-scope-2": lambda root: replicas.gemma_scope_2(root),
    "qwen-scope": lambda root: replicas.qwen_scope(root),
    "saelens, jumprelu": lambda root: replicas.saelens(root),
    "saelens, no input bias": lambda root: replicas.saelens(root, apply_b_dec_to_input=False),
    "saelens, standard": lambda root: replicas.saelens(root, architecture="standard"),
    "saelens, topk": lambda root: replicas.saelens(root, architecture="topk", k=K, rescale_acts_by_decoder_norm=True),
    "saelens, before 6.0": lambda root: replicas.saelens(root, **OLD),
    "saelens, finetuned": lambda root: replicas.saelens(root, more=FACTOR, finetuning_scaling_factor=True),
    "saelens, finetuned by its flag alone": lambda root: replicas.saelens(root, finetuning_scaling_factor=True),
    "saelens, options of the model without an effect": lambda root: replicas.saelens(
        root, model_from_pretrained_kwargs={"fold_ln": True, "device": "cpu", "revision": None}
    ),
    "saelens, nothing said of b_dec": replicas.saelens_without_its_default,
    "saelens, checkpoint": replicas.saelens_checkpoint,
    "saelens, centred": replicas.saelens_centred,
    "goodfire": lambda root: replicas.goodfire(root, "Goodfire", "pth"),
    "qresearch": lambda root: replicas.goodfire(root, "qresearch", "pt"),
    "sparsify": lambda root: replicas.sparsify(root),
    **{
        f"dictionary-learning, {kind}": lambda root, kind=kind: replicas.dictionary_learning(root, kind)
        for kind in (
            "AutoEncoder",
            "AutoEncoderNew",
            "AutoEncoderTopK",
            "BatchTopKSAE",
            "MatryoshkaBatchTopKSAE",
            "JumpReluAutoEncoder",
        )
    },
    "llamascopium, native": lambda root: replicas.llamascopium(root, native=True),
    "llamascopium, topk": lambda root: replicas.llamascopium(root, native=True, act_fn="topk"),
    "llamascopium, R1": lambda root: replicas.llamascopium(root, native=False),
}


def activations(head: SparseAutoencoder, states: Tensor) -> Tensor:
    """What the record means, token by token."""
    z = states @ head.W.float().T + head.b
    acts = z * (z > head.theta)
    return acts if head.k is None else replicas.topk(acts, head.k)


@pytest.mark.parametrize("case", CASES)
def test_a_record_computes_what_its_suite_defines(case, tmp_path):
    replica = CASES[case](tmp_path / "published")
    head = SparseAutoencoder.load(import_sae(str(replica.folder), output=tmp_path / "head"))
    states = torch.randn(200, D, generator=torch.Generator().manual_seed(0))
    expected = replica.forward(states)
    assert 0.01 < (expected > 0).float().mean() < 0.9
    torch.testing.assert_close(activations(head, states), expected, rtol=1e-5, atol=1e-5)
    assert (head.card["suite"], head.card["layer"]) == (case.split(",")[0], LAYER)
    assert (head.card["layers_needed"], head.card["d_model"], head.width) == (LAYER + 1, D, M)
    assert len(head.card["source_sha256"]) == 64


@pytest.mark.parametrize("case", ["llama-scope", "qwen-scope"])
def test_the_head_pools_what_the_record_means(case, tmp_path):
    replica = CASES[case](tmp_path / "published")
    head = SparseAutoencoder.load(import_sae(str(replica.folder), output=tmp_path / "head"))
    states = torch.randn(9, D, generator=torch.Generator().manual_seed(0))
    pooled = head(states, torch.tensor([0, 9]), torch.ones(9, dtype=torch.bool))[0]
    torch.testing.assert_close(pooled, torch.log1p(replica.forward(states).amax(0)), rtol=1e-5, atol=1e-5)


def test_half_precision_stays_half(tmp_path):
    E, e, decoder, b_dec, _ = (tensor.bfloat16() for tensor in replicas.weights())
    tensors = {"encoder.weight": E, "encoder.bias": e, "decoder.weight": decoder, "decoder.bias": b_dec}
    replica = replicas.llama_scope(tmp_path / "published", tensors=tensors)
    head = SparseAutoencoder.load(import_sae(str(replica.folder), output=tmp_path / "head"))
    assert (head.W.dtype, head.b.dtype, head.theta.dtype) == (torch.bfloat16, torch.float32, torch.float32)
    expected = decoder.float().norm(dim=0)[:, None] * E.float()
    torch.testing.assert_close(head.W.float(), expected, rtol=2**-8, atol=0)


def test_blocks_of_a_few_rows_give_the_same_record(tmp_path, monkeypatch):
    folders = [replicas.llama_scope(tmp_path).folder, replicas.gemma_scope(tmp_path).folder]
    folders.append(replicas.qwen_scope(tmp_path).folder)
    whole = [
        SparseAutoencoder.load(import_sae(str(folder), output=tmp_path / folder.name / "a")) for folder in folders
    ]
    monkeypatch.setattr("splare_plugins.heads.importers.tensors.BLOCK_BYTES", 4 * M * 5)
    parts = [
        SparseAutoencoder.load(import_sae(str(folder), output=tmp_path / folder.name / "b")) for folder in folders
    ]
    for one, other in zip(whole, parts, strict=True):
        assert torch.equal(one.W, other.W)
        torch.testing.assert_close(one.b, other.b)


@pytest.mark.parametrize(
    ("case", "card"),
    [
        ("llama-scope", {"licence": "apache-2.0", "published_l0": 50, "scale": "raw, unit decoder norms"}),
        ("gemma-scope", {"base_model": "google/gemma-2-2b", "published_l0": 107.0, "licence": "cc-by-4.0"}),
        ("gemma-scope-2", {"base_model": "google/gemma-3-270m", "published_l0": 10, "activation": "jumprelu"}),
        ("qwen-scope", {"published_l0": K, "activation": "topk", "k": K}),
        ("saelens, jumprelu", {"base_model": "gpt2", "hook": f"blocks.{LAYER}.hook_resid_post"}),
        ("sparsify", {"hook": f"layers.{LAYER}", "k": K}),
        ("dictionary-learning, BatchTopKSAE", {"activation": "jumprelu", "published_l0": K, "k": None}),
    ],
)
def test_the_card_says_where_it_comes_from(case, card, tmp_path):
    replica = CASES[case](tmp_path / "published")
    head = SparseAutoencoder.load(import_sae(str(replica.folder), output=tmp_path / "head"))
    assert {"k": head.k, **head.card} | card == {"k": head.k, **head.card}
    assert head.card["source"] == str(replica.folder)


@pytest.mark.parametrize(
    ("hook", "layer"), [("blocks.4.hook_resid_post", 4), ("blocks.4.hook_resid_pre", 3), ("model.layers.4.output", 4)]
)
def test_a_hook_is_the_output_of_a_layer(hook, layer, tmp_path):
    replica = replicas.saelens(tmp_path / "published", metadata={"sae_lens_version": "6.0", "hook_name": hook})
    head = SparseAutoencoder.load(import_sae(str(replica.folder), output=tmp_path / "head"))
    assert head.card["layer"] == layer


def test_the_input_norm_can_come_from_the_user(tmp_path):
    replica = replicas.llamascopium(tmp_path / "published", native=False, stored_norm=False)
    folder = import_sae(str(replica.folder), output=tmp_path / "head", hints=Hints(input_norm=7.0))
    states = torch.randn(50, D)
    torch.testing.assert_close(
        activations(SparseAutoencoder.load(folder), states), replica.forward(states), rtol=1e-5, atol=1e-5
    )
