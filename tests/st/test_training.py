"""Training with sentence-transformers: its trainer and losses on our modules."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from splare_plugins.st import SplareEncoder
from tests.st.conftest import add_lora, dense
from tests.tiny import TEXTS

DOCUMENTS = [*TEXTS, *(f"{number} {text[::-1]}" for number, text in enumerate(TEXTS))]
PAIRS = {"query": [text[: len(text) // 2] or "b" for text in DOCUMENTS], "document": DOCUMENTS}


def features(encoder: SplareEncoder) -> list[dict]:
    return [encoder.preprocess(PAIRS["query"], task="query"), encoder.preprocess(PAIRS["document"], task="document")]


def gradients(encoder: SplareEncoder, loss: torch.nn.Module) -> dict[str, torch.Tensor]:
    encoder.zero_grad()
    sum(loss(features(encoder)).values()).backward()
    return {name: weight.grad.clone() for name, weight in encoder.named_parameters() if weight.grad is not None}


def splade_loss(encoder: SplareEncoder, **cached: int) -> torch.nn.Module:
    from sentence_transformers.sparse_encoder import losses

    kind = losses.CachedSpladeLoss if cached else losses.SpladeLoss
    ranking = losses.SparseMultipleNegativesRankingLoss(encoder)
    return kind(encoder, ranking, document_regularizer_weight=1e-4, query_regularizer_weight=1e-4, **cached)


def test_gradients_reach_the_adapter_alone_and_are_those_of_dense_autograd(encoder):
    add_lora(encoder)
    encoder.eval()
    found = gradients(encoder, splade_loss(encoder))
    assert len(found) == 8
    assert all("lora" in name for name in found)

    head = encoder[1].head

    class Dense(torch.nn.Module):
        """The definition: every token's activations stored."""

        def forward(self, batch, **_):
            codes = torch.log1p(torch.relu(batch["token_embeddings"] @ head.W.T + head.b))
            batch["sentence_embedding"] = (codes * batch["keep"][..., None]).amax(1)
            return batch

    pooling, encoder._modules["1"] = encoder._modules["1"], Dense()
    try:
        expected = gradients(encoder, splade_loss(encoder))
    finally:
        encoder._modules["1"] = pooling
    for name, gradient in expected.items():
        np.testing.assert_allclose(found[name].numpy(), gradient.numpy(), atol=1e-5)


def test_cached_and_plain_loss_agree(encoder):
    add_lora(encoder)
    encoder.eval()
    plain, cached = (gradients(encoder, splade_loss(encoder, **how)) for how in ({}, {"mini_batch_size": 3}))
    assert plain.keys() == cached.keys()
    for name, gradient in plain.items():
        np.testing.assert_allclose(cached[name].numpy(), gradient.numpy(), rtol=1e-3, atol=1e-6)


def test_nothing_is_pruned_in_a_loss(encoder):
    batch = encoder.preprocess(TEXTS, task="query")
    assert (encoder(dict(batch))["sentence_embedding"] > 0).sum(1).max() > 20
    assert (encoder(dict(batch), task="query")["sentence_embedding"] > 0).sum(1).max() == 20


@pytest.mark.slow
@pytest.mark.parametrize("cached", [{}, {"mini_batch_size": 4}], ids=["plain", "cached"])
def test_the_trainer_trains_an_adapter_and_reloads_the_best(encoder, cached, tmp_path):
    from datasets import Dataset
    from sentence_transformers import SparseEncoderTrainer, SparseEncoderTrainingArguments

    add_lora(encoder)
    before = dense(encoder.encode_document(TEXTS))
    sae = encoder[1].head.W.clone()
    arguments = SparseEncoderTrainingArguments(
        output_dir=str(tmp_path),
        max_steps=20,
        per_device_train_batch_size=10,
        learning_rate=1e-2,
        eval_strategy="steps",
        eval_steps=10,
        save_steps=10,
        load_best_model_at_end=True,
        prompts={"query": "q: ", "document": "d: "},
        router_mapping={"query": "query", "document": "document"},
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        seed=1,
    )
    pairs = Dataset.from_dict(PAIRS)
    trainer = SparseEncoderTrainer(
        encoder, arguments, train_dataset=pairs, eval_dataset=pairs, loss=splade_loss(encoder, **cached)
    )
    untrained = trainer.evaluate()["eval_loss"]
    trainer.train()
    assert trainer.evaluate()["eval_loss"] < 0.9 * untrained
    assert abs(dense(encoder.encode_document(TEXTS)) - before).max() > 1e-3
    assert torch.equal(encoder[1].head.W, sae)
    best = tmp_path / "checkpoint-20"
    assert [path.name for path in best.rglob("*.safetensors")] == ["adapter_model.safetensors"]
    loaded = SplareEncoder(trainer.state.best_model_checkpoint, device="cpu")
    assert torch.equal(loaded.encode_document(TEXTS).to_dense(), encoder.encode_document(TEXTS).to_dense())
