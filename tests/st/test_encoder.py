"""A SPLARE model as a SparseEncoder: the same vectors, saved and loaded without a difference."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig

from splare_plugins.config import SplareConfig
from splare_plugins.errors import IdentityError, InputError
from splare_plugins.model.splare import SplareModel
from splare_plugins.st import SplareEncoder
from tests.model.test_splade import save_random
from tests.st.conftest import add_lora, dense
from tests.tiny import TEXTS, tiny_model

# Empty, blank, cut off, with a special token's text and a lone long word.
HARD = [*TEXTS, "", " ", "long " * 100, "a [SEP] b", "x" * 300]


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_it_gives_the_vectors_of_the_model(encoder, tiny):
    for theirs, ours in (
        (encoder.encode_query(HARD), tiny.encode_queries(HARD)),
        (encoder.encode_document(HARD), tiny.encode_documents(HARD)),
        (encoder.encode(HARD), tiny.encode_documents(HARD)),
    ):
        assert theirs.is_sparse
        assert theirs.dtype == torch.float32
        np.testing.assert_array_equal(dense(theirs) > 0, ours.toarray() > 0)
        np.testing.assert_allclose(dense(theirs), ours.toarray(), atol=1e-5)


def test_each_side_has_its_top_k_and_a_call_may_have_another(encoder, tiny):
    assert (dense(encoder.encode_query(TEXTS)) > 0).sum(1).max() == 20
    assert (dense(encoder.encode_document(TEXTS)) > 0).sum(1).max() == 60
    for limit in (7, 100):  # below and above the model's own
        found = dense(encoder.encode_query(TEXTS, max_active_dims=limit))
        np.testing.assert_allclose(found, tiny.encode_queries(TEXTS, top_k=limit).toarray(), atol=1e-5)
    everything = dense(encoder.encode_document(TEXTS, max_active_dims=encoder.get_embedding_dimension()))
    np.testing.assert_allclose(everything, tiny.encode_documents(TEXTS, top_k=None).toarray(), atol=1e-5)


@pytest.mark.parametrize("change", [{"pool_all_tokens": True}, {"max_token_norm_ratio": 0.999}, {"norm_power": 0.5}])
def test_it_pools_what_the_model_pools(change):
    model = tiny_model()
    changed = SplareModel(dataclasses.replace(model.config, **change), model.backbone, model.head)
    assert (changed.encode_documents(TEXTS) != model.encode_documents(TEXTS)).nnz
    found = dense(SplareEncoder.from_splare(changed).encode_document(HARD))
    np.testing.assert_allclose(found, changed.encode_documents(HARD).toarray(), atol=1e-5)


def test_per_token_topk_heads_and_splade_models_work(splade_wheel):
    model = tiny_model(k=4)
    found = dense(SplareEncoder.from_splare(model).encode_document(HARD))
    np.testing.assert_allclose(found, model.encode_documents(HARD).toarray(), atol=1e-5)
    splade = SplareModel.from_pretrained(splade_wheel, device="cpu")
    encoder = SplareEncoder(splade_wheel, device="cpu")
    np.testing.assert_allclose(
        dense(encoder.encode_document(TEXTS)), splade.encode_documents(TEXTS).toarray(), atol=1e-5
    )
    assert encoder.decode(encoder.encode_query("a fox"), top_k=1)[0][0] == "fox"


def test_decode_names_latents(encoder, tiny):
    vectors = encoder.encode_query(TEXTS[:2])
    row = tiny.encode_queries(TEXTS[:1])
    best = row.indices[np.argsort(-row.data)[:3]]
    assert [name for name, _ in encoder.decode(vectors[0], top_k=3)] == [f"f{latent}" for latent in best]
    both = encoder.decode(vectors)
    assert [len(pairs) for pairs in both] == [20, 20]
    assert both[0][:3] == encoder.decode(vectors.to_dense()[0], top_k=3)
    assert encoder.decode(encoder.encode_query("")) == []


def test_it_works_with_the_tools_of_sentence_transformers(encoder, tiny):
    from sentence_transformers.sparse_encoder.evaluation import SparseInformationRetrievalEvaluator
    from sentence_transformers.util import semantic_search

    queries, documents = encoder.encode_query(TEXTS), encoder.encode_document(TEXTS)
    expected = tiny.encode_queries(TEXTS).toarray() @ tiny.encode_documents(TEXTS).toarray().T
    np.testing.assert_allclose(encoder.similarity(queries, documents).numpy(), expected, rtol=1e-5)
    hits = semantic_search(queries.to_dense(), documents.to_dense(), score_function=encoder.similarity, top_k=1)
    assert [hit[0]["corpus_id"] for hit in hits] == expected.argmax(1).tolist()
    corpus = {str(number): text for number, text in enumerate(TEXTS)}
    best = {str(number): {str(document)} for number, document in enumerate(expected.argmax(1))}
    evaluator = SparseInformationRetrievalEvaluator(corpus, corpus, best, name="tiny", show_progress_bar=False)
    figures = evaluator(encoder)
    assert figures["tiny_dot_ndcg@10"] == pytest.approx(1.0)
    assert figures["tiny_query_active_dims"] == pytest.approx((dense(queries) > 0).sum(1).mean())


def test_saving_and_loading_makes_no_difference(encoder, tmp_path):
    encoder.prompts["query"] = "other: "
    encoder.max_seq_length = 30
    encoder[1].top_k["document"] = 9
    encoder.save_pretrained(tmp_path)
    loaded = SplareEncoder.from_pretrained(tmp_path, device="cpu")
    for task in ("query", "document"):
        one, other = (getattr(each, f"encode_{task}")(HARD) for each in (encoder, loaded))
        assert torch.equal(one.to_dense(), other.to_dense())
    assert loaded.splare_config.query.prompt == "other: "
    assert (dense(loaded.encode_document(TEXTS)) > 0).sum(1).max() == 9
    assert not [*tmp_path.glob("1_*/*.safetensors")]  # the SAE stays where it is
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "from splare_plugins.st import SplareEncoder" in card
    assert "import SparseEncoder" not in card


def test_an_adapter_is_saved_alone(encoder, tiny_folder, tmp_path):
    before = encoder.encode_document(TEXTS)
    add_lora(encoder)
    adapted = encoder.encode_document(HARD)
    assert abs(dense(adapted)[: len(TEXTS)] - dense(before)).max() > 0.1
    encoder.save_pretrained(tmp_path)
    tensors = {name for name in files(tmp_path) if name.endswith((".safetensors", ".bin"))}
    assert tensors == {"adapter/adapter_model.safetensors"}
    settings = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == str(tiny_folder.resolve())
    loaded = SplareEncoder(tmp_path, device="cpu")
    assert torch.equal(loaded.encode_document(HARD).to_dense(), adapted.to_dense())
    assert any(weight.requires_grad for weight in loaded.parameters())  # training can go on
    loaded.save_pretrained(tmp_path / "again")
    again = SplareEncoder(tmp_path / "again", device="cpu")
    assert torch.equal(again.encode_document(HARD).to_dense(), adapted.to_dense())


@pytest.mark.parametrize("adapted", [True, False])
def test_an_embedded_encoder_stands_alone_and_is_a_splare_model(adapted, tiny_folder, tmp_path):
    shutil.copytree(tiny_folder, tmp_path / "base")
    encoder = SplareEncoder(tmp_path / "base", device="cpu")
    if adapted:
        add_lora(encoder)
    encoder.save_pretrained(tmp_path / "whole", embed=True)
    shutil.rmtree(tmp_path / "base")
    vectors = encoder.encode_document(HARD)
    loaded = SplareEncoder(tmp_path / "whole", device="cpu")
    assert torch.equal(loaded.encode_document(HARD).to_dense(), vectors.to_dense())
    model = SplareModel.from_pretrained(tmp_path / "whole", device="cpu")
    np.testing.assert_allclose(model.encode_documents(HARD).toarray(), dense(vectors), atol=1e-5)
    assert model.config.adapter == ("adapter" if adapted else None)
    assert model.quantizer.document_scale > 0


def test_an_embedded_encoder_on_a_model_with_an_adapter_keeps_both(encoder, tmp_path):
    add_lora(encoder)
    encoder.save_pretrained(tmp_path / "first", embed=True)
    shutil.copytree(tmp_path / "first", tmp_path / "plain", ignore=shutil.ignore_patterns("splare_encoder.json"))
    second = SplareEncoder(tmp_path / "plain", device="cpu")  # as a SPLARE model: its adapter is merged
    np.testing.assert_allclose(dense(second.encode_document(TEXTS)), dense(encoder.encode_document(TEXTS)), atol=1e-5)
    add_lora(second)
    expected = dense(second.encode_document(TEXTS))
    for embed in (False, True):
        second.save_pretrained(tmp_path / f"second-{embed}", embed=embed)
        found = SplareEncoder(tmp_path / f"second-{embed}", device="cpu").encode_document(TEXTS)
        np.testing.assert_allclose(dense(found), expected, atol=1e-6)
    model = SplareModel.from_pretrained(tmp_path / "second-True", device="cpu")
    np.testing.assert_allclose(model.encode_documents(TEXTS).toarray(), expected, atol=1e-5)


def test_a_changed_head_and_a_model_in_memory_are_saved_whole(encoder, tmp_path):
    encoder[1].head.W.requires_grad_(True)
    encoder[1].head.W.data *= 1.1
    expected = encoder.encode_document(TEXTS)
    for name in ("a", "b"):  # the second time from a loaded one, whose head is frozen again
        encoder.save_pretrained(tmp_path / name)
        encoder = SplareEncoder(tmp_path / name, device="cpu")
        assert torch.equal(encoder.encode_document(TEXTS).to_dense(), expected.to_dense())
    built = SplareEncoder.from_splare(tiny_model(seed=3))
    built.save_pretrained(tmp_path / "c")
    loaded = SplareEncoder(tmp_path / "c", device="cpu")
    assert torch.equal(loaded.encode_document(TEXTS).to_dense(), built.encode_document(TEXTS).to_dense())


def test_a_decoder_made_bidirectional_in_memory_stays_so(tmp_path):
    from peft import LoraConfig

    base = save_random(tmp_path / "causal", "LlamaForCausalLM")
    model = SplareModel.from_pretrained(base, device="cpu")
    assert not model.config.bidirectional
    model.config = dataclasses.replace(model.config, bidirectional=True)
    model.backbone.model.config.is_causal = False
    encoder = SplareEncoder.from_splare(model, base=str(base))
    encoder.add_adapter(LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    encoder.save_pretrained(tmp_path / "saved")
    assert [path.name for path in (tmp_path / "saved").rglob("*.safetensors")] == ["adapter_model.safetensors"]
    loaded = SplareEncoder(tmp_path / "saved", device="cpu")
    assert torch.equal(loaded.encode_document(TEXTS).to_dense(), encoder.encode_document(TEXTS).to_dense())


def test_sentence_transformers_loads_it_when_told_to_trust_this_package(encoder, tmp_path):
    from sentence_transformers import SparseEncoder

    add_lora(encoder)
    encoder.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="trust_remote_code"):
        SparseEncoder(str(tmp_path), device="cpu")
    loaded = SparseEncoder(str(tmp_path), device="cpu", trust_remote_code=True)
    assert torch.equal(loaded.encode_query(HARD).to_dense(), encoder.encode_query(HARD).to_dense())


def test_biases_and_thresholds_are_not_rounded(tiny_folder, tmp_path):
    encoder = SplareEncoder(tiny_folder, device="cpu", dtype="bfloat16")
    model = SplareModel.from_pretrained(tiny_folder, device="cpu", dtype="bfloat16")
    assert (encoder[1].head.W.dtype, encoder[1].head.b.dtype) == (torch.bfloat16, torch.float32)
    found = encoder.encode_document(TEXTS)
    np.testing.assert_allclose(dense(found), model.encode_documents(TEXTS).toarray(), atol=1e-2)
    add_lora(encoder)
    encoder.save_pretrained(tmp_path)
    loaded = SplareEncoder(tmp_path, device="cpu")
    assert loaded.dtype == torch.bfloat16
    assert torch.equal(loaded.encode_document(TEXTS).to_dense(), encoder.encode_document(TEXTS).to_dense())


def test_a_model_in_memory_shares_the_weights_and_has_its_own_identity(encoder, tiny, tmp_path):
    add_lora(encoder)
    model = encoder.splare_model()
    np.testing.assert_allclose(model.encode_documents(HARD).toarray(), dense(encoder.encode_document(HARD)), atol=1e-5)
    assert model.config.fingerprint() != tiny.config.fingerprint()
    assert model.config.fingerprint() == encoder.splare_model().config.fingerprint()
    encoder[0].backbone.model.encoder.layer[0].attention.self.query.lora_A["default"].weight.data += 0.1
    assert encoder.splare_model().config.fingerprint() != model.config.fingerprint()
    with pytest.raises(InputError, match="embed=True"):
        model.save_pretrained(tmp_path)
    with pytest.raises(InputError, match="adapter that is not merged"):
        SplareModel(model.config, model.backbone, model.head).save_pretrained(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def saved(tiny_folder: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A copy of the base and an encoder saved on it."""
    base = tmp_path / "base"
    shutil.copytree(tiny_folder, base)
    encoder = SplareEncoder(base, device="cpu")
    add_lora(encoder)
    encoder.save_pretrained(tmp_path / "saved")
    return base, tmp_path / "saved"


def test_another_sae_is_refused(tiny_folder, tmp_path):
    base, folder = saved(tiny_folder, tmp_path)
    shutil.rmtree(base)
    tiny_model(seed=5).save_pretrained(base)
    with pytest.raises(IdentityError, match=r"made with the (backbone|head) .* but the one there is"):
        SplareEncoder(folder, device="cpu")
    shutil.rmtree(base)
    shutil.copytree(tiny_folder, base)
    other = tmp_path / "other"
    tiny_model(seed=5).save_pretrained(other)
    shutil.rmtree(base / "head")
    shutil.copytree(other / "head", base / "head")
    sha256 = SplareConfig.load(other).head_sha256
    dataclasses.replace(SplareConfig.load(base), head_sha256=sha256).save(base)
    with pytest.raises(IdentityError, match="made with the head"):
        SplareEncoder(folder, device="cpu")


def test_a_base_that_moved_is_named(tiny_folder, tmp_path):
    base, folder = saved(tiny_folder, tmp_path)
    expected = SplareEncoder(folder, device="cpu").encode_document(TEXTS)
    base.rename(tmp_path / "moved")
    with pytest.raises(
        InputError, match=r"cannot be loaded: there is no model folder .* SplareEncoder\(folder, base="
    ) as caught:
        SplareEncoder(folder, device="cpu")
    assert "\n" not in str(caught.value)
    moved = SplareEncoder(folder, device="cpu", base=str(tmp_path / "moved"))
    assert torch.equal(moved.encode_document(TEXTS).to_dense(), expected.to_dense())


def test_damaged_folders_are_refused(tiny_folder, tmp_path):
    _, folder = saved(tiny_folder, tmp_path)
    weights = folder / "adapter" / "adapter_model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(InputError, match="does not have the hash that its model names"):
        SplareEncoder(folder, device="cpu")
    weights.unlink()
    with pytest.raises(InputError, match=r"holds no adapter_model\.safetensors"):
        SplareEncoder(folder, device="cpu")
    (folder / "splare_encoder.json").write_text("{}")
    with pytest.raises(InputError, match=r"splare_encoder\.json is damaged"):
        SplareEncoder(folder, device="cpu")


def test_mistakes_get_a_sentence(encoder, tiny_folder, tmp_path):
    with pytest.raises(InputError, match="no model folder"):
        SplareEncoder(tmp_path / "nothing")
    with pytest.raises(InputError, match=r"no splare_config\.json"):
        SplareEncoder(tmp_path)
    with pytest.raises(InputError, match="so it has no base"):
        SplareEncoder(tiny_folder, base="elsewhere")
    with pytest.raises(InputError, match="no dtype 'float33'"):
        SplareEncoder(tiny_folder, dtype="float33")
    with pytest.raises(InputError, match="device 'gpu' cannot be used"):
        SplareEncoder(tiny_folder, device="gpu")
    with pytest.raises(InputError, match="or its modules"):
        SplareEncoder()
    with pytest.raises(InputError, match="encodes texts"):
        encoder.encode([("a", "b")])
    with pytest.raises(InputError, match="lone surrogate"):
        encoder.encode(["\ud800"])
    with pytest.raises(InputError, match="at least 1"):
        encoder.decode(encoder.encode("a"), top_k=0)


ADAPTERS = {
    "dora": {"use_dora": True},
    "whole modules": {"modules_to_save": ["LayerNorm"]},
    "tokens": {"trainable_token_indices": {"word_embeddings": [5, 6]}},
    "biases": {"bias": "lora_only"},
    "rslora": {"use_rslora": True},
    "pissa": {"init_lora_weights": "pissa"},
    "olora": {"init_lora_weights": "olora"},
}


@pytest.mark.parametrize("kind", ADAPTERS)
def test_every_kind_of_adapter_comes_back_as_it_was_or_is_refused(encoder, tmp_path, kind):
    torch.manual_seed(0)
    encoder.add_adapter(LoraConfig(**{"r": 4, "target_modules": ["query", "value"], **ADAPTERS[kind]}))
    before = dense(encoder.encode_document(HARD))
    for weight in encoder.parameters():
        if weight.requires_grad:
            weight.data.add_(torch.randn_like(weight) * 0.3)
    expected = dense(encoder.encode_document(HARD))
    assert np.abs(expected - before).max() > 0.1
    encoder.save_pretrained(tmp_path / "alone")
    np.testing.assert_array_equal(dense(SplareEncoder(str(tmp_path / "alone")).encode_document(HARD)), expected)
    if kind in ("pissa", "olora"):
        with pytest.raises(InputError, match=f"began with {kind} has changed the weights below it"):
            encoder.save_pretrained(tmp_path / "embedded", embed=True)
        return
    encoder.save_pretrained(tmp_path / "embedded", embed=True)
    for found in (
        dense(SplareEncoder(str(tmp_path / "embedded")).encode_document(HARD)),
        SplareModel.from_pretrained(tmp_path / "embedded", device="cpu").encode_documents(HARD).toarray(),
    ):
        np.testing.assert_allclose(found, expected, atol=1e-5)
